//! Bytecode: a module that was compiled once and is loaded into each run's runtime.
//!
//! Invariant: bytecode is made by this process with the QuickJS that loads it; none ever comes from outside.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use keyway_storage::limits::SCRIPTS_CACHED_MAX;
use rquickjs::{Context, Ctx, Module, Object, Runtime, WriteOptions};
use xxhash_rust::xxh3::xxh3_128;

use super::{JobError, Severity};
use crate::executor::script::{SyntaxMistake, compile, compile_expression};

const LANGUAGE: &str = include_str!("../language.js");

/// A compiled module.
#[derive(Debug)]
pub struct Bytecode(Vec<u8>);

impl Bytecode {
    fn of(name: &str, source: &str) -> Result<Self, String> {
        let runtime = Runtime::new().map_err(|error| error.to_string())?;
        let context = Context::full(&runtime).map_err(|error| error.to_string())?;
        context.with(|ctx| {
            let module = Module::declare(ctx.clone(), name, source);
            let bytes = module.and_then(|module| {
                let options = WriteOptions { strip_source: true, ..WriteOptions::default() };
                module.write(options)
            });
            bytes.map(Self).map_err(|error| {
                let thrown = ctx.catch();
                let message = thrown.as_object().and_then(|object| object.get::<_, String>("message").ok());
                message.unwrap_or_else(|| error.to_string())
            })
        })
    }

    /// The module's default export.
    pub(super) fn load<'js>(&self, ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
        self.evaluate(ctx)?.get("default")
    }

    /// Runs the module for what it does.
    pub(super) fn run(&self, ctx: &Ctx<'_>) -> rquickjs::Result<()> {
        self.evaluate(ctx).map(drop)
    }

    fn evaluate<'js>(&self, ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
        // SAFETY: `of` is the only maker of `Bytecode`, in this process and with this QuickJS, and nothing changes the
        // bytes afterwards; malformed bytecode is the one thing that `load` asks its caller to rule out.
        #[allow(unsafe_code)]
        let module = unsafe { Module::load(ctx.clone(), &self.0)? };
        let (module, evaluated) = module.eval()?;
        evaluated.finish::<()>()?;
        module.namespace()
    }
}

/// The operations, compiled once per process.
pub(super) fn language() -> &'static Bytecode {
    static COMPILED: OnceLock<Bytecode> = OnceLock::new();
    COMPILED.get_or_init(|| Bytecode::of("language", LANGUAGE).expect("the language is part of this program"))
}

/// Scripts by their source, compiled once for all threads.
#[derive(Default)]
pub struct Scripts {
    compiled: Mutex<HashMap<u128, Compiled>>,
}

type Compiled = Result<Arc<Bytecode>, JobError>;

impl Scripts {
    /// The bytecode of a job.
    pub fn job(&self, source: &str) -> Compiled {
        self.get(xxh3_128(source.as_bytes()), || compile(source))
    }

    /// The bytecode of an edge's condition.
    pub fn condition(&self, source: &str) -> Compiled {
        self.get(!xxh3_128(source.as_bytes()), || compile_expression(source))
    }

    fn get(&self, key: u128, module: impl FnOnce() -> Result<String, Vec<SyntaxMistake>>) -> Compiled {
        if let Some(compiled) = lock(&self.compiled).get(&key) {
            return compiled.clone();
        }
        let crash = |message: String| JobError::new("RuntimeCrash", Severity::Crash, message);
        let compiled = match module() {
            Ok(text) => {
                Bytecode::of("job", &text).map(Arc::new).map_err(|m| crash(format!("SyntaxError: {m}")))
            }
            Err(mistakes) => Err(crash(describe(&mistakes))),
        };
        let mut cache = lock(&self.compiled);
        if cache.len() >= SCRIPTS_CACHED_MAX {
            cache.clear();
        }
        cache.insert(key, compiled.clone());
        compiled
    }
}

fn describe(mistakes: &[SyntaxMistake]) -> String {
    mistakes.first().map_or_else(String::new, |mistake| {
        format!("SyntaxError: {} (line {}, column {})", mistake.message, mistake.line, mistake.column)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics: it only looks up and inserts")
}
