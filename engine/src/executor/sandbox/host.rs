//! The host: what the language may call of ours.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use keyway_storage::event::{Level, LogSource};
use rquickjs::{Ctx, Function, Object};

use super::{bytecode, bytecode::Bytecode, now};
use crate::executor::{language::Parts, log::Lines};

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

    /// Forgets the run.
    pub fn reset(&self) {
        self.lines.take();
        self.loaded.take();
        self.script.take();
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

/// Gives a context its harness, which asks for parts by name, and what these call of ours; returns the functions of ours.
pub(super) fn install<'js>(host: &Rc<Host>, ctx: &Ctx<'js>) -> rquickjs::Result<Vec<Function<'js>>> {
    let [loading, logging, locating, looking] = [(); 4].map(|()| Rc::clone(host));
    let load = move |ctx: Ctx<'_>, name: String| load(&loading, &ctx, Parts::called(&name));
    let log = move |level: u8, message: String| logging.log(level, &message);
    let room = move || looking.lines.borrow().room() as u32;
    let line = move |line: u32| locating.source_line(line);
    let uuid = || uuid::Uuid::new_v4().to_string();
    let named = [
        ("__load", Function::new(ctx.clone(), load)?),
        ("__log", Function::new(ctx.clone(), log)?),
        ("__room", Function::new(ctx.clone(), room)?),
        ("__line", Function::new(ctx.clone(), line)?),
        ("__uuid", Function::new(ctx.clone(), uuid)?),
    ];
    for (name, function) in &named {
        ctx.globals().set(*name, function.clone())?;
    }
    // That of QuickJS would go on from the same number in every run.
    let random = Function::new(ctx.clone(), fastrand::f64)?.with_name("random")?;
    ctx.globals().get::<_, Object>("Math")?.set("random", random.clone())?;
    bytecode::load_harness(ctx)?;
    Ok(named.into_iter().map(|(_, function)| function).chain([random]).collect())
}

/// Loads parts of the language that are not there yet.
pub(super) fn load(host: &Host, ctx: &Ctx<'_>, parts: Parts) -> rquickjs::Result<()> {
    let loaded = host.loaded.get();
    for index in parts.missing_in(loaded) {
        bytecode::load_part(ctx, index)?;
    }
    host.loaded.set(loaded.with(parts));
    Ok(())
}
