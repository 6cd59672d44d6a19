use super::*;

#[test]
fn what_a_run_sets_stands_in_place_of_the_manifests() {
    let limits = ProcessLimits { memory_mebibytes: Some(7), ..ProcessLimits::default() };
    assert_eq!(LimitOverrides::default().over(limits), limits);
    let seconds = Duration::from_secs;
    let set = LimitOverrides {
        request_seconds: Some(1),
        convert_seconds: Some(2),
        install_seconds: Some(3),
        probe_seconds: Some(4),
        lock_seconds: Some(5),
        memory_mebibytes: Some(6),
        builds: Some(7),
    };
    let expected = ProcessLimits {
        probe: seconds(4),
        convert: seconds(2),
        install: seconds(3),
        lock: seconds(5),
        memory_mebibytes: Some(6),
    };
    assert_eq!(set.over(limits), expected);
    let workers = set.of_workers();
    assert_eq!((workers.request, workers.memory_mebibytes), (seconds(1), Some(6)));
    assert_eq!((workers.build, workers.stderr_bytes), (Limits::default().build, Limits::default().stderr_bytes));
    assert_eq!(LimitOverrides::default().of_workers().request, Limits::default().request);
}
