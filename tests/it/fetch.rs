use crate::context::Context;

/// Nothing is fetched before the licence is accepted, and what was carried here is held to its pin.
#[test]
fn a_tensorrt_is_asked_for_accepted_and_held_to_its_pin() {
    let context = Context::new();
    let asked = context.run(&["fetch", "tensorrt@10.6"]);
    assert_eq!(asked.code, 2, "{}", asked.shown());
    for word in ["1.09 GB", "sha256", "licence  NVIDIA's", "brought by Maven", "`--accept-licence`"] {
        assert!(asked.stderr.contains(word), "{word}: {}", asked.shown());
    }
    let other = context.write("other.jar", "no package");
    let other = other.to_str().unwrap();
    let refused = context.run(&["fetch", "tensorrt@10.6", "--accept-licence", "--from", other]);
    assert_eq!(refused.code, 2, "{}", refused.shown());
    assert!(refused.stderr.contains("is not the package of TensorRT 10.6.0: it has 10 bytes"), "{}", refused.shown());
    let out = context.path("parts");
    let packed =
        context.run(&["pack", "tensorrt@8.5", "--accept-licence", "--from", other, "--out", out.to_str().unwrap()]);
    assert_eq!((packed.code, out.exists()), (2, false), "{}", packed.shown());
    let whole = context.run(&["fetch", "tensorrt@8.6", "--accept-licence", "--from", other, "--compute", "9.0"]);
    assert!(whole.stderr.contains("checks the digest of its kernels"), "{}", whole.shown());
}
