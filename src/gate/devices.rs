//! Which GPUs a run uses, and what of them a reader has to know.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::findings::Gpu;
use crate::runtime::cuda::DeviceInfo;

/// Hides and renumbers GPUs, for every process.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// The GPUs that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Devices {
    /// Every one that is visible.
    All,
    /// Those of these numbers, as the driver counts the visible ones.
    Numbers(Vec<usize>),
}

impl FromStr for Devices {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "all" {
            return Ok(Self::All);
        }
        let numbers = text.split(',').map(|number| number.trim().parse::<usize>().ok()).collect::<Option<Vec<_>>>();
        let numbers = numbers.ok_or_else(|| {
            Error::usage(format!("`{text}` names no GPUs"))
                .hint("`all`, or numbers such as `0,1`; `trtgate doctor` lists them")
        })?;
        if numbers.iter().collect::<BTreeSet<_>>().len() < numbers.len() {
            return Err(Error::usage(format!("`{text}` names a GPU twice")));
        }
        Ok(Self::Numbers(numbers))
    }
}

/// The GPUs of `found` that are `asked` for, the first where nobody asks; none where there are none, which every cell says itself.
///
/// # Errors
/// `Usage` for a number that is not there, and for GPUs of several models: what one measures and builds holds for no other.
pub(super) fn chosen(found: &[DeviceInfo], asked: Option<&Devices>) -> Result<Vec<DeviceInfo>> {
    let cards: Vec<DeviceInfo> = match asked {
        _ if found.is_empty() => Vec::new(),
        None => found.first().cloned().into_iter().collect(),
        Some(Devices::All) => found.to_vec(),
        Some(Devices::Numbers(numbers)) => {
            let named = |number: &usize| {
                found.iter().find(|device| device.ordinal == *number).cloned().ok_or_else(|| {
                    Error::usage(format!("no GPU has the number {number}: {} visible", visible(found.len())))
                        .hint(format!("`trtgate doctor` lists them; `{VISIBLE}` hides and renumbers them"))
                })
            };
            numbers.iter().map(named).collect::<Result<_>>()?
        }
    };
    let model = |device: &DeviceInfo| (device.name.clone(), device.compute_capability);
    let models: BTreeSet<_> = cards.iter().map(model).collect();
    if models.len() > 1 {
        let named: Vec<String> = cards.iter().map(|card| format!("{}: {}", card.ordinal, card.name)).collect();
        return Err(Error::usage("the GPUs are of several models, whose engines and timings are not each other's")
            .cause(named.join(", "))
            .hint("name those of one model with `--devices`, and gate each model in a run of its own"));
    }
    Ok(cards)
}

fn visible(count: usize) -> String {
    if count == 1 { "1 is".to_owned() } else { format!("{count} are") }
}

/// The GPUs of a run as its report names them.
pub(super) fn reported(cards: &[DeviceInfo]) -> Vec<Gpu> {
    let gpu = |card: &DeviceInfo| Gpu {
        index: card.ordinal,
        name: card.name.clone(),
        uuid: card.uuid.clone(),
        memory_bytes: card.memory_bytes,
        is_slice: card.is_slice(),
        others: card.others.iter().map(ToString::to_string).collect(),
    };
    cards.iter().map(gpu).collect()
}

/// What this process was told of the GPUs that it may see.
pub fn visible_devices() -> Option<String> {
    std::env::var(VISIBLE).ok()
}

/// What a reader has to know of GPUs, a sentence each.
pub fn remarks(cards: &[DeviceInfo], visible: Option<&str>) -> Vec<String> {
    let mut told = Vec::new();
    if let Some(visible) = visible.filter(|_| !cards.is_empty()) {
        told.push(format!("`{VISIBLE}={visible}` chooses and numbers the GPUs"));
    }
    for card in cards {
        let (number, uuid) = (card.ordinal, &card.uuid);
        if card.is_slice() {
            told.push(format!(
                "GPU {number} is a slice of a card ({uuid}), whose other slices share its power and clocks"
            ));
        }
        if !card.others.is_empty() {
            let others: Vec<String> = card.others.iter().take(4).map(ToString::to_string).collect();
            let more = if card.others.len() > 4 { ", …" } else { "" };
            told.push(format!("GPU {number} is used by others too: {}{more}", others.join(", ")));
        }
    }
    told
}

#[cfg(test)]
pub(in crate::gate) mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::timing::nvml::OtherProcess;

    /// A card of that number and name.
    pub(in crate::gate) fn card(ordinal: usize, name: &str) -> DeviceInfo {
        DeviceInfo {
            ordinal,
            name: name.to_owned(),
            compute_capability: (9, 0),
            uuid: format!("GPU-{ordinal}"),
            others: Vec::new(),
            memory_bytes: 80 << 30,
            multiprocessors: 132,
            copy_engines: 3,
            pci_bus_id: format!("0000:{ordinal:02x}:00.0"),
            driver_version: Some("580.159.04".to_owned()),
            cuda_version: (13, 0),
        }
    }

    #[rstest]
    #[case("all", Some(Devices::All))]
    #[case("0", Some(Devices::Numbers(vec![0])))]
    #[case("1, 0", Some(Devices::Numbers(vec![1, 0])))]
    #[case("", None)]
    #[case("0,", None)]
    #[case("-1", None)]
    #[case("0,0", None)]
    #[case("every", None)]
    #[case("99999999999999999999999", None)]
    fn devices_are_all_or_numbers(#[case] text: &str, #[case] expected: Option<Devices>) {
        assert_eq!(text.parse::<Devices>().ok(), expected);
    }

    #[test]
    fn the_first_is_used_where_nobody_asks_and_no_other_model_beside_it() {
        let found = [card(0, "H100"), card(1, "H100"), card(2, "L4")];
        let of = |asked: Option<&str>| {
            let asked = asked.map(|text| text.parse::<Devices>().unwrap());
            chosen(&found, asked.as_ref()).map(|cards| cards.iter().map(|card| card.ordinal).collect::<Vec<_>>())
        };
        assert_eq!(
            (of(None).unwrap(), of(Some("1,0")).unwrap(), of(Some("2")).unwrap()),
            (vec![0], vec![1, 0], vec![2])
        );
        let mixed = of(Some("all")).unwrap_err();
        assert!(mixed.to_string().contains("several models") && mixed.to_string().contains("2: L4"), "{mixed}");
        let absent = of(Some("0,7")).unwrap_err();
        assert!(absent.message.contains("the number 7: 3 are visible"), "{absent}");
        // That there is none is every cell's to say.
        assert_eq!(chosen(&[], Some(&Devices::Numbers(vec![3]))).unwrap(), []);
    }

    #[test]
    fn what_disturbs_a_card_is_told() {
        assert!(remarks(&[card(0, "H100")], None).is_empty());
        let slice = DeviceInfo { uuid: "MIG-5".to_owned(), ..card(0, "NVIDIA H100 80GB HBM3 MIG 1g.10gb") };
        let other = OtherProcess { process: 77, memory_bytes: Some(2_000_000_000) };
        let shared = DeviceInfo { others: vec![other.clone(); 5], ..card(1, "H100") };
        let told = remarks(&[slice, shared], Some("MIG-5,GPU-1")).join("\n");
        assert_eq!(
            told,
            "`CUDA_VISIBLE_DEVICES=MIG-5,GPU-1` chooses and numbers the GPUs\n\
             GPU 0 is a slice of a card (MIG-5), whose other slices share its power and clocks\n\
             GPU 1 is used by others too: process 77 with 2.0 GB, process 77 with 2.0 GB, process 77 with 2.0 GB, process 77 with 2.0 GB, …"
        );
        let four = DeviceInfo { others: vec![other; 4], ..card(1, "H100") };
        assert!(!remarks(&[four], None)[0].contains('…'));
        assert!(remarks(&[], Some("")).is_empty());
    }
}
