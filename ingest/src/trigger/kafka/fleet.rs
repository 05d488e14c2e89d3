//! The fleet: a consumer for each Kafka trigger that is in force, started, replaced and stopped as projects change.
//!
//! Invariant: a trigger has at most one consumer, and one whose plan did not change goes on undisturbed.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use keyway_engine::{mailbox::Bell, project::Project, source::Positions};
use keyway_storage::{event::TriggerId, limits::KAFKA_CLOSE_MS};
use uuid::Uuid;

use super::{
    consumer::{self, World},
    plan::Plan,
    status::Status,
};
use crate::trigger::Gauge;

/// The consumers of a process.
pub struct Fleet {
    /// What all consumers share.
    pub world: Arc<World>,
    orders: Sender<Order>,
    seen: Mutex<HashMap<TriggerId, Arc<Status>>>,
}

enum Order {
    /// These are in force from now on.
    Sail(Vec<Plan>),
    /// None is; then say so.
    Close(Sender<()>),
}

struct Running {
    plan: Arc<Plan>,
    bell: Arc<Bell>,
    ended: Receiver<()>,
}

impl Fleet {
    /// A fleet without ships, and the thread that will start them.
    pub fn open(world: World) -> io::Result<Arc<Self>> {
        let (orders, received) = unbounded();
        let world = Arc::new(world);
        let fleet = Arc::new(Self { world: Arc::clone(&world), orders, seen: Mutex::default() });
        let own = Arc::downgrade(&fleet);
        thread::Builder::new().name("kafka".to_owned()).spawn(move || {
            let mut running = BTreeMap::new();
            for order in received {
                let (plans, closed) = match order {
                    Order::Sail(plans) => (plans, None),
                    Order::Close(closed) => (Vec::new(), Some(closed)),
                };
                let Some(fleet) = own.upgrade() else { return };
                fleet.sail(plans, &mut running, &world);
                if let Some(closed) = closed {
                    // Whoever waits may have given up.
                    let _ = closed.try_send(());
                    return;
                }
            }
        })?;
        Ok(fleet)
    }

    /// Takes note of the project in force. On a shard's thread: it does not wait.
    pub fn tune(&self, project: &Arc<Project>, positions: &dyn Positions) {
        let in_force =
            project.triggers().filter(|(_, trigger)| positions.is_enabled(trigger.id, trigger.enabled));
        let plans = in_force.filter_map(|(workflow, trigger)| Plan::of(workflow, trigger)).collect();
        // After the end nobody listens.
        let _ = self.orders.send(Order::Sail(plans));
    }

    /// How a trigger's consumer does.
    pub fn status(&self, trigger: TriggerId) -> Option<Arc<Status>> {
        self.seen().get(&trigger).cloned()
    }

    /// Numbers for the metrics.
    pub fn gauges(&self) -> Vec<Gauge> {
        let all: Vec<_> = self.seen().iter().map(|(id, status)| (*id, Arc::clone(status))).collect();
        all.iter().flat_map(|(id, status)| status.gauges(Uuid::from_bytes(id.0))).collect()
    }

    /// Stops all consumers: what they took is durable and committed, or never was.
    pub fn close(&self) {
        let (sender, closed) = bounded(1);
        if self.orders.send(Order::Close(sender)).is_ok() {
            // A client that hangs is left behind.
            let _ = closed.recv_timeout(2 * Duration::from_millis(KAFKA_CLOSE_MS));
        }
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<TriggerId, Arc<Status>>> {
        self.seen.lock().expect("no holder of this lock panics: it only looks up and inserts")
    }

    fn sail(&self, plans: Vec<Plan>, running: &mut BTreeMap<TriggerId, Running>, world: &Arc<World>) {
        let goes_on = |ship: &Running| plans.iter().any(|plan| *plan == *ship.plan);
        let stopped: Vec<TriggerId> =
            running.iter().filter(|(_, ship)| !goes_on(ship)).map(|(trigger, _)| *trigger).collect();
        stopped.iter().for_each(|trigger| running[trigger].bell.stop());
        let (fresh, changed): (Vec<_>, Vec<_>) = plans
            .into_iter()
            .filter(|plan| running.get(&plan.trigger).is_none_or(|ship| *ship.plan != *plan))
            .partition(|plan| !running.contains_key(&plan.trigger));
        for plan in fresh {
            self.start(plan, running, world);
        }
        let deadline = Instant::now() + Duration::from_millis(KAFKA_CLOSE_MS);
        for trigger in stopped {
            let Some(ship) = running.remove(&trigger) else { continue };
            // A client that hangs while it leaves is left behind: what it took is durable or dropped.
            let _ = ship.ended.recv_deadline(deadline);
            self.seen().remove(&trigger);
        }
        for plan in changed {
            self.start(plan, running, world);
        }
    }

    fn start(&self, plan: Plan, running: &mut BTreeMap<TriggerId, Running>, world: &Arc<World>) {
        let (trigger, plan) = (plan.trigger, Arc::new(plan));
        let (status, bell) = (Arc::<Status>::default(), Arc::<Bell>::default());
        self.seen().insert(trigger, Arc::clone(&status));
        let (ending, ended) = bounded::<()>(1);
        let ship = (Arc::clone(&plan), Arc::clone(world), Arc::clone(&status), Arc::clone(&bell));
        let thread = thread::Builder::new().name("kafka-consumer".to_owned()).spawn(move || {
            let (plan, world, status, bell) = ship;
            consumer::run(&plan, &world, &status, &bell);
            drop(ending);
        });
        match thread {
            Ok(_) => drop(running.insert(trigger, Running { plan, bell, ended })),
            Err(error) => {
                let sentence = format!("Its thread cannot be started: {error}.");
                status.halt(sentence, crate::time::now());
            }
        }
    }
}
