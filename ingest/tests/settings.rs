//! Project files as users write them, read with the real trigger types.

mod reading;

use reading::example;

#[test]
fn every_example_reads_without_mistakes_and_without_warnings() {
    for name in ["quickstart", "intake", "nightly", "nightly-v2", "orders"] {
        let reading = example(name);
        assert!(reading.warnings.is_empty(), "{name}: {:?}", reading.warnings);
        assert!(!reading.project.workflows.is_empty(), "{name}");
    }
}

#[test]
fn v1_and_v2_of_the_same_workflow_are_the_same_project() {
    let (old, new) = (example("nightly").project, example("nightly-v2").project);
    assert_eq!(format!("{:?}", old.workflows), format!("{:?}", new.workflows));
    assert_eq!(old.name, new.name);
}
