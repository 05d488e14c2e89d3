//! The machine: one QuickJS that is made once and, for each run, put back to what it was when it had run nothing.
//!
//! Invariant: a run begins with the very bytes that a machine has which was just made. Nothing of ours goes with the memory
//! of a run: the functions of ours that it can call were made before, and `roots` keeps them whatever a job does.

use keyway_storage::limits::{JOB_MEMORY_BYTES_MAX, JOB_STACK_BYTES_MAX};
use rquickjs::{Context, Ctx, Function, Persistent, Runtime, context::intrinsic};

use super::heap::Heap;

type Intrinsics = (
    (intrinsic::Date, intrinsic::RegExpCompiler, intrinsic::RegExp, intrinsic::Json),
    (intrinsic::Proxy, intrinsic::MapSet, intrinsic::TypedArrays, intrinsic::Promise),
);

/// One QuickJS with a context.
pub(super) struct Machine {
    /// References to all functions of ours: a job that lets go of one does not end it.
    _roots: Vec<Persistent<Function<'static>>>,
    context: Context,
    heap: Heap,
}

impl Machine {
    /// A machine that calls `interrupt` now and then, as `install` makes it; which returns all functions of ours in it.
    pub fn new(
        interrupt: impl FnMut() -> bool + 'static,
        install: impl for<'js> FnOnce(&Ctx<'js>) -> rquickjs::Result<Vec<Function<'js>>>,
    ) -> rquickjs::Result<Self> {
        // Free blocks of other sizes may take as much as those in use.
        let heap = Heap::new(2 * JOB_MEMORY_BYTES_MAX).ok_or(rquickjs::Error::Allocation)?;
        let runtime = Runtime::new_with_alloc(heap.clone())?;
        runtime.set_memory_limit(JOB_MEMORY_BYTES_MAX);
        runtime.set_max_stack_size(JOB_STACK_BYTES_MAX);
        runtime.set_interrupt_handler(Some(Box::new(interrupt)));
        let context = Context::custom::<Intrinsics>(&runtime)?;
        let roots = context.with(|ctx| -> rquickjs::Result<_> {
            let functions = install(&ctx)?;
            Ok(functions.into_iter().map(|function| Persistent::save(&ctx, function)).collect())
        })?;
        assert!(heap.keep(), "a machine that has run nothing fits a chunk");
        Ok(Self { _roots: roots, context, heap })
    }

    /// Calls `f` with the context.
    pub fn with<R>(&self, f: impl for<'js> FnOnce(Ctx<'js>) -> R) -> R {
        self.context.with(f)
    }

    /// Puts everything back to what it was when the machine was made.
    pub fn reset(&mut self) {
        // SAFETY: No value of the context outlives `with`, and `self` is borrowed alone, so nothing of ours points to what came
        // since the machine was made. What rquickjs itself and `_roots` refer to is older, and counted in what is put back.
        // Nothing of ours is forgotten with the memory: no function of ours is made after `new`.
        #[allow(unsafe_code)]
        unsafe {
            self.heap.restore();
        }
    }
}
