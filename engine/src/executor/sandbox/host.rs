//! The host: what the language may call of ours, each only where a part of it that does so is loaded.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use keyway_storage::event::{Level, LogSource};
use rquickjs::{Ctx, Function};

use super::{bytecode, bytecode::Bytecode, now};
use crate::executor::{
    language::{PARTS, Parts},
    log::Lines,
};

/// Our side of a run's runtime.
#[derive(Default)]
pub(super) struct Host {
    pub(super) lines: Rc<RefCell<Lines>>,
    loaded: Cell<Parts>,
    /// What runs, for the lines of its errors.
    script: RefCell<Option<Arc<Bytecode>>>,
}

impl Host {
    /// Says what runs from now on.
    pub fn begin(&self, script: &Arc<Bytecode>) {
        *self.script.borrow_mut() = Some(Arc::clone(script));
    }

    fn source_line(&self, line: u32) -> u32 {
        self.script.borrow().as_ref().map_or(0, |script| script.source_line(line))
    }

    fn log(&self, level: u8, message: &str) {
        let level = match level {
            0 => Level::Debug,
            2 => Level::Warn,
            3 => Level::Error,
            4 => Level::Success,
            5 => Level::Always,
            _ => Level::Info,
        };
        self.lines.borrow_mut().write(level, LogSource::Job, now(), message);
    }
}

/// Gives a context its harness, which asks for parts by name.
pub(super) fn install(host: &Rc<Host>, ctx: &Ctx<'_>) -> rquickjs::Result<()> {
    let own = Rc::clone(host);
    let load = move |ctx: Ctx<'_>, name: String| load(&own, &ctx, Parts::called(&name));
    ctx.globals().set("__load", Function::new(ctx.clone(), load)?)?;
    bytecode::load_harness(ctx)
}

/// Loads parts of the language that are not there yet.
pub(super) fn load(host: &Rc<Host>, ctx: &Ctx<'_>, parts: Parts) -> rquickjs::Result<()> {
    let loaded = host.loaded.get();
    for index in parts.missing_in(loaded) {
        let own = Rc::clone(host);
        let globals = ctx.globals();
        match PARTS[index].name {
            "console" => {
                let log = move |level: u8, message: String| own.log(level, &message);
                globals.set("__log", Function::new(ctx.clone(), log)?)?;
            }
            "trouble" => {
                let line = move |line: u32| own.source_line(line);
                globals.set("__line", Function::new(ctx.clone(), line)?)?;
            }
            "util" => {
                let uuid = || uuid::Uuid::new_v4().to_string();
                globals.set("__uuid", Function::new(ctx.clone(), uuid)?)?;
            }
            _ => {}
        }
        bytecode::load_part(ctx, index)?;
    }
    host.loaded.set(loaded.with(parts));
    Ok(())
}
