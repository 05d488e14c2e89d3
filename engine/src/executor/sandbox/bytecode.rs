//! Bytecode: a module that was compiled once and is loaded into each run's runtime.
//!
//! Invariant: bytecode is made by this process with the QuickJS that loads it; none ever comes from outside.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use keyway_storage::limits::{SCRIPTS_CACHED_BYTES_MAX, SCRIPTS_CACHED_MAX};
use rquickjs::{Context, Ctx, Module, Object, Runtime, WriteOptions};
use xxhash_rust::xxh3::xxh3_128;

use super::{JobError, Severity};
use crate::executor::{
    language::{HARNESS, PARTS, Parts},
    script::{Script, SyntaxMistake, compile, compile_expression},
};

/// A compiled module.
#[derive(Debug)]
struct Image(Vec<u8>);

/// A compiled job or condition.
#[derive(Debug)]
pub struct Bytecode {
    image: Image,
    lines: Box<[u32]>,
    /// The parts of the language that it may use.
    pub(super) parts: Parts,
}

/// Why QuickJS does not take a module: the line, if it names one, and the message.
type LoadError = (Option<u32>, String);

/// Modules that are checked with the same QuickJS: it keeps each of them until it goes.
const CHECKS_PER_COMPILER: u32 = 256;

thread_local! {
    /// What checks modules, and how many it has checked.
    static COMPILER: RefCell<(Option<Compiler>, u32)> = const { RefCell::new((None, 0)) };
}

/// A QuickJS that compiles and runs nothing.
struct Compiler(Context);

impl Compiler {
    fn new() -> Result<Self, LoadError> {
        let failed = |error: rquickjs::Error| (None, error.to_string());
        let runtime = Runtime::new().map_err(failed)?;
        Ok(Self(Context::full(&runtime).map_err(failed)?))
    }

    fn compile(&self, name: &str, source: &str) -> Result<Image, LoadError> {
        self.0.with(|ctx| {
            let module = Module::declare(ctx.clone(), name, source);
            let bytes = module.and_then(|module| {
                let options = WriteOptions { strip_source: true, ..WriteOptions::default() };
                module.write(options)
            });
            bytes.map(Image).map_err(|error| thrown(&ctx, &error))
        })
    }
}

impl Image {
    fn of(name: &str, source: &str) -> Result<Self, LoadError> {
        Compiler::new()?.compile(name, source)
    }

    fn evaluate<'js>(&self, ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
        // SAFETY: `of` is the only maker of an `Image`, in this process and with this QuickJS, and nothing changes the
        // bytes afterwards; malformed bytecode is the one thing that `load` asks its caller to rule out.
        #[allow(unsafe_code)]
        let module = unsafe { Module::load(ctx.clone(), &self.0)? };
        let (module, evaluated) = module.eval()?;
        evaluated.finish::<()>()?;
        module.namespace()
    }
}

fn thrown(ctx: &Ctx<'_>, error: &rquickjs::Error) -> LoadError {
    let caught = ctx.catch();
    let text = |key: &str| caught.as_object().and_then(|object| object.get::<_, String>(key).ok());
    let message = text("message").unwrap_or_else(|| error.to_string());
    let stack = text("stack").unwrap_or_default();
    let line = stack.split_once("job:").and_then(|(_, rest)| rest.split(':').next()?.trim().parse().ok());
    (line, message)
}

impl Bytecode {
    fn of(script: &Script) -> Result<Self, LoadError> {
        let image = Image::of("job", &script.text).map_err(|error| of_source(script, error))?;
        Ok(Self { image, lines: script.lines.clone().into(), parts: script.parts })
    }

    /// The module's default export.
    pub(super) fn load<'js>(&self, ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
        self.image.evaluate(ctx)?.get("default")
    }

    /// The line of the source behind a line of the module; 0 where there is none.
    pub(super) fn source_line(&self, line: u32) -> u32 {
        (line as usize).checked_sub(1).and_then(|index| self.lines.get(index)).copied().unwrap_or(0)
    }
}

/// Runs what every run needs.
pub(super) fn load_harness(ctx: &Ctx<'_>) -> rquickjs::Result<()> {
    static COMPILED: OnceLock<Image> = OnceLock::new();
    COMPILED.get_or_init(|| part_of_program(HARNESS)).evaluate(ctx).map(drop)
}

/// Runs a part of the language, by its index.
pub(super) fn load_part(ctx: &Ctx<'_>, index: usize) -> rquickjs::Result<()> {
    static COMPILED: [OnceLock<Image>; PARTS.len()] = [const { OnceLock::new() }; PARTS.len()];
    COMPILED[index].get_or_init(|| part_of_program(PARTS[index].source)).evaluate(ctx).map(drop)
}

fn part_of_program(source: &str) -> Image {
    Image::of("language", source).expect("the language is part of this program")
}

/// The same error, at the line of the source.
fn of_source(script: &Script, (line, message): LoadError) -> LoadError {
    (line.and_then(|line| script.source_line(line)), message)
}

/// Why QuickJS does not take a script, if so.
///
/// A project file has up to hundreds of thousands of jobs, and to make a QuickJS takes longer than all else about them.
pub fn load_error(script: &Script) -> Option<(Option<u32>, String)> {
    COMPILER.with_borrow_mut(|(compiler, checks)| {
        if *checks % CHECKS_PER_COMPILER == 0 {
            *compiler = None;
        }
        *checks = checks.wrapping_add(1);
        let compiler = match compiler {
            Some(compiler) => compiler,
            None => match Compiler::new() {
                Ok(made) => compiler.insert(made),
                Err(error) => return Some(error),
            },
        };
        compiler.compile("job", &script.text).err().map(|error| of_source(script, error))
    })
}

/// Scripts by their source, compiled once for all threads.
#[derive(Default)]
pub struct Scripts {
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    slots: HashMap<u128, Slot>,
    bytes: usize,
}

type Compiled = Result<Arc<Bytecode>, JobError>;

/// Empty while the first thread that wants it compiles it; the others wait.
type Slot = Arc<OnceLock<Compiled>>;

impl Scripts {
    /// The bytecode of a job.
    pub fn job(&self, source: &str) -> Compiled {
        self.get(xxh3_128(source.as_bytes()), || compile(source))
    }

    /// The bytecode of an edge's condition.
    pub fn condition(&self, source: &str) -> Compiled {
        self.get(!xxh3_128(source.as_bytes()), || compile_expression(source))
    }

    fn get(&self, key: u128, script: impl FnOnce() -> Result<Script, Vec<SyntaxMistake>>) -> Compiled {
        let slot = self.slot(key);
        slot.get_or_init(|| {
            let compiled = compiled(script());
            self.count(key, &slot, compiled.as_ref().map_or(0, |compiled| compiled.image.0.len()));
            compiled
        })
        .clone()
    }

    fn slot(&self, key: u128) -> Slot {
        let mut cache = lock(&self.cache);
        // What is still in use comes back at once, and costs a millisecond each.
        if cache.slots.len() >= SCRIPTS_CACHED_MAX && !cache.slots.contains_key(&key) {
            *cache = Cache::default();
        }
        Arc::clone(cache.slots.entry(key).or_default())
    }

    fn count(&self, key: u128, slot: &Slot, bytes: usize) {
        let mut cache = lock(&self.cache);
        if cache.bytes + bytes > SCRIPTS_CACHED_BYTES_MAX {
            *cache = Cache::default();
            cache.slots.insert(key, Arc::clone(slot));
        }
        cache.bytes += bytes;
    }
}

fn compiled(script: Result<Script, Vec<SyntaxMistake>>) -> Compiled {
    let crash = |message: String| JobError::new("RuntimeCrash", Severity::Crash, message);
    match script {
        Ok(script) => Bytecode::of(&script).map(Arc::new).map_err(|(line, message)| {
            let place = line.map_or_else(String::new, |line| format!(" (line {line})"));
            crash(format!("SyntaxError: {message}{place}"))
        }),
        Err(mistakes) => Err(crash(describe(&mistakes))),
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
