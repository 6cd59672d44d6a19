//! Names of schemas, `trtgate.report/v1`: which of two is newer.

/// Whether `found` is a later version of the schema `own`: a newer program wrote it, and this one would lose what it does not know.
pub fn is_newer(found: &str, own: &str) -> bool {
    let parts = |name: &str| {
        let (family, version) = name.rsplit_once("/v")?;
        Some((family.to_owned(), version.parse::<u64>().ok()?))
    };
    match (parts(found), parts(own)) {
        (Some((family, version)), Some((own_family, own_version))) => family == own_family && version > own_version,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    #[rstest]
    #[case("trtgate.report/v2", true)]
    #[case("trtgate.report/v10", true)]
    #[case("trtgate.report/v1", false)]
    #[case("trtgate.report/v0", false)]
    #[case("trtgate.plan/v2", false)]
    #[case("trtgate.report/vx", false)]
    #[case("", false)]
    fn only_later_versions_of_the_same_are_newer(#[case] found: &str, #[case] newer: bool) {
        assert_eq!(super::is_newer(found, "trtgate.report/v1"), newer);
    }
}
