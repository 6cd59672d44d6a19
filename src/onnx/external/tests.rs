#![allow(clippy::unwrap_used)]

use prost::bytes::Bytes;
use rstest::rstest;
use tempfile::TempDir;

use super::super::messages::{Function, StringEntry};
use super::*;

const VALUES: [u8; 24] = *b"values of another file.!";

/// A tensor `[2]` of float32 whose values are eight bytes of `file` from `offset`.
fn away(file: &str, offset: usize) -> TensorData {
    let entry = |key: &str, value: String| StringEntry { key: key.to_owned(), value };
    TensorData {
        name: format!("at {offset}"),
        data_type: 1,
        dims: vec![2],
        external_data: vec![
            entry("location", file.to_owned()),
            entry("offset", offset.to_string()),
            entry("length", "8".to_owned()),
        ],
        data_location: 1,
        ..TensorData::default()
    }
}

/// The same with the values in it.
fn own(offset: usize) -> TensorData {
    let raw_data = Some(Bytes::copy_from_slice(&VALUES[offset..offset + 8]));
    TensorData { external_data: Vec::new(), data_location: 0, raw_data, ..away("", offset) }
}

fn in_node(attribute: Attribute) -> Node {
    Node { op_type: "Constant".to_owned(), output: vec!["y".to_owned()], attribute: vec![attribute], ..Node::default() }
}

fn in_model(node: Vec<Node>, initializer: Vec<TensorData>) -> Model {
    let graph = Graph { name: "graph".to_owned(), node, initializer, ..Graph::default() };
    Model { ir_version: 8, graph: Some(graph), ..Model::default() }
}

fn sparse(tensor: TensorData, indices: TensorData) -> SparseTensorData {
    SparseTensorData { values: Some(tensor), indices: Some(indices), dims: vec![9] }
}

/// A model with tensors that `tensor` makes, wherever one may stand.
fn model(place: &str, tensor: impl Fn(usize) -> TensorData) -> Model {
    let attribute = |change: &dyn Fn(&mut Attribute)| {
        let mut attribute = Attribute { name: "value".to_owned(), ..Attribute::default() };
        change(&mut attribute);
        attribute
    };
    let inner = |initializer| Graph { initializer, ..Graph::default() };
    match place {
        "initializers" => in_model(Vec::new(), vec![tensor(0), own(1), tensor(16)]),
        "constant" => in_model(vec![in_node(attribute(&|it| it.t = Some(Box::new(tensor(3)))))], vec![own(2)]),
        "tensors" => in_model(vec![in_node(attribute(&|it| it.tensors = vec![own(1), tensor(3)]))], vec![]),
        "branch" => in_model(vec![in_node(attribute(&|it| it.g = Some(Box::new(inner(vec![tensor(3)])))))], vec![]),
        "graphs" => {
            let deep = in_node(attribute(&|it| it.graphs = vec![inner(vec![]), inner(vec![tensor(5)])]));
            let middle = Graph { node: vec![deep], ..Graph::default() };
            in_model(vec![in_node(attribute(&|it| it.g = Some(Box::new(middle.clone()))))], vec![])
        }
        "function" => {
            let node = vec![in_node(attribute(&|it| it.t = Some(Box::new(tensor(3)))))];
            let function = Function { name: "f".to_owned(), node, ..Function::default() };
            Model { functions: vec![function], ..in_model(vec![], vec![]) }
        }
        "default" => {
            let attribute_default = vec![attribute(&|it| it.t = Some(Box::new(tensor(3))))];
            Model { functions: vec![Function { attribute_default, ..Function::default() }], ..in_model(vec![], vec![]) }
        }
        "sparse values" => in_model(
            vec![in_node(attribute(&|it| it.sparse_tensor = Some(Box::new(sparse(tensor(0), own(8))))))],
            vec![],
        ),
        "sparse indices" => {
            in_model(vec![in_node(attribute(&|it| it.sparse_tensors = vec![sparse(own(0), tensor(8))]))], vec![])
        }
        "sparse initializer" => {
            let mut model = in_model(vec![], vec![]);
            model.graph.as_mut().unwrap().sparse_initializer = vec![sparse(tensor(0), tensor(8))];
            model
        }
        other => unreachable!("{other}"),
    }
}

/// A model's folder with the values' file.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("model")).unwrap();
    std::fs::write(folder.path().join("model/w.bin"), VALUES).unwrap();
    folder
}

fn joined(bytes: &[u8], pieces: &[Piece]) -> Vec<u8> {
    let mut whole = Vec::new();
    stream(bytes, pieces, &mut |part| {
        whole.extend_from_slice(part);
        Ok(())
    })
    .unwrap();
    assert_eq!(whole.len() as u64, length(pieces));
    whole
}

#[rstest]
fn values_are_put_back_wherever_they_stand(
    #[values(
        "initializers",
        "constant",
        "tensors",
        "branch",
        "graphs",
        "function",
        "default",
        "sparse values",
        "sparse indices",
        "sparse initializer"
    )]
    place: &str,
) {
    let folder = folder();
    let split = model(place, |offset| away("w.bin", offset));
    let bytes = split.encode_to_vec();
    let pieces = pieces(&bytes, &folder.path().join("model")).unwrap().unwrap();
    assert_eq!(Model::decode(&*joined(&bytes, &pieces)).unwrap(), model(place, own));
    // A file that is not walked is not run either.
    assert!(elsewhere(&split).is_some() && elsewhere(&model(place, own)).is_none());
}

#[test]
fn what_only_training_reads_is_put_back_and_what_is_not_known_kept() {
    let folder = folder();
    let graph = |tensor: TensorData| Graph { initializer: vec![tensor], ..Graph::default() }.encode_to_vec();
    let wrapped = |number, inside: Vec<u8>| [head(number, inside.len() as u64), inside].concat();
    // A text (6), a training information (20), and a field of a later version (3000).
    let file = |tensor| {
        [wrapped(6, b"read me".to_vec()), wrapped(20, wrapped(2, graph(tensor))), wrapped(3000, vec![7])].concat()
    };
    let bytes = file(away("w.bin", 4));
    let pieces = pieces(&bytes, &folder.path().join("model")).unwrap().unwrap();
    assert_eq!(joined(&bytes, &pieces), file(own(4)));
}

#[test]
fn a_model_of_one_file_stays_as_it_is() {
    let folder = folder();
    for place in ["initializers", "constant", "graphs", "function"] {
        assert_eq!(pieces(&model(place, own).encode_to_vec(), folder.path()).unwrap(), None);
    }
    assert_eq!(pieces(b"no protobuf at all", folder.path()).unwrap(), None);
    // A tensor in two parts, of which a merge makes one that is elsewhere: not put back, and refused when it is read.
    let part = |tensor: TensorData| Attribute { t: Some(Box::new(tensor)), ..Attribute::default() }.encode_to_vec();
    let location = TensorData { data_location: 1, ..TensorData::default() };
    let attribute = [part(TensorData { data_location: 0, ..away("w.bin", 0) }), part(location)].concat();
    let node = [head(5, attribute.len() as u64), attribute].concat();
    let graph = [head(1, node.len() as u64), node].concat();
    let bytes = [head(7, graph.len() as u64), graph].concat();
    assert_eq!(pieces(&bytes, folder.path()).unwrap(), None);
    assert!(elsewhere(&Model::decode(&*bytes).unwrap()).is_some());
}

#[rstest]
#[case::absolute("/etc/passwd", "outside of the model's folder")]
#[case::above("../w.bin", "outside of the model's folder")]
#[case::above_after_all("sub/../../w.bin", "outside of the model's folder")]
#[case::link_out("link", "a link out of the model's folder")]
#[case::folder_link_out("linked/w.bin", "a link out of the model's folder")]
#[case::nothing("nowhere.bin", "No such file")]
#[case::no_name("", "does not say in which file")]
#[case::pipe("pipe", "is no plain file")]
#[case::folder("sub", "is no plain file")]
#[case::short("short.bin", "ends before the values")]
fn values_that_are_no_part_of_the_model_are_refused(#[case] location: &str, #[case] reason: &str) {
    let folder = folder();
    let inside = folder.path().join("model");
    std::fs::write(folder.path().join("w.bin"), VALUES).unwrap();
    std::fs::create_dir(inside.join("sub")).unwrap();
    std::fs::write(inside.join("short.bin"), "seven b").unwrap();
    std::os::unix::fs::symlink("../w.bin", inside.join("link")).unwrap();
    std::os::unix::fs::symlink("..", inside.join("linked")).unwrap();
    std::os::unix::fs::symlink("w.bin", inside.join("linked-inside")).unwrap();
    let pipe = inside.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let read = |location: &str| pieces(&model("constant", |_| away(location, 0)).encode_to_vec(), &inside);
    let error = read(location).unwrap_err();
    assert!(error.to_string().contains(reason), "{error}");
    assert_eq!(error.kind, crate::ErrorKind::Input);
    assert!(read("linked-inside").is_ok());
}

#[test]
fn values_that_do_not_fill_their_tensor_are_refused() {
    let folder = folder();
    let read = |change: &dyn Fn(&mut TensorData)| {
        let tensor = |_| {
            let mut tensor = away("w.bin", 0);
            change(&mut tensor);
            tensor
        };
        pieces(&model("constant", tensor).encode_to_vec(), &folder.path().join("model"))
    };
    let reason = |change: &dyn Fn(&mut TensorData)| read(change).unwrap_err().message;
    assert!(reason(&|tensor| tensor.dims = vec![3]).contains("of shape [3] has 8 bytes in `w.bin`"));
    assert!(reason(&|tensor| tensor.dims = vec![i64::MAX, 8]).contains("has 8 bytes"));
    assert!(reason(&|tensor| tensor.external_data[1].value = "20".to_owned()).contains("ends before"));
    assert!(reason(&|tensor| tensor.external_data[1].value = "-8".to_owned()).contains("no number"));
    assert!(reason(&|tensor| tensor.external_data[2].value = u64::MAX.to_string()).contains("ends before"));
    assert!(reason(&|tensor| tensor.data_location = 2).contains("in a place 2"));
    assert!(reason(&|tensor| tensor.float_data = vec![1.0]).contains("values of its own"));
    // Without a length they go to the file's end.
    let rest = read(&|tensor| {
        tensor.dims = vec![5];
        tensor.external_data =
            vec![tensor.external_data[0].clone(), StringEntry { key: "offset".into(), value: "4".into() }];
    });
    assert!(rest.unwrap().unwrap().iter().any(|piece| matches!(piece, Piece::File { offset: 4, bytes: 20, .. })));
}
