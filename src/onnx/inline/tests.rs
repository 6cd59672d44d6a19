#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::onnx::samples::{around, graph, model, node, value, with};

fn function(name: &str, inputs: &str, nodes: Vec<Node>, outputs: &str) -> Function {
    let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    Function {
        name: name.to_owned(),
        domain: "local".to_owned(),
        input: names(inputs),
        output: names(outputs),
        node: nodes,
        opset_import: vec![OperatorSet { domain: String::new(), version: 17 }],
        ..Function::default()
    }
}

fn call(name: &str, operator: &str, inputs: &str, outputs: &str) -> Node {
    Node { name: name.to_owned(), domain: "local".to_owned(), ..node(operator, inputs, outputs) }
}

fn with_functions(nodes: Vec<Node>, functions: Vec<Function>) -> Model {
    let mut made = model(graph(vec![value("x", Some(1))], nodes, vec![value("y", Some(1))]));
    made.opset_import.push(OperatorSet { domain: "local".to_owned(), version: 1 });
    Model { functions, ..made }
}

/// `operator inputs -> outputs` of every node.
fn shown(model: &Model) -> Vec<String> {
    let show = |node: &Node| format!("{} {} -> {}", node.op_type, node.input.join(" "), node.output.join(" "));
    model.graph.as_ref().unwrap().node.iter().map(show).collect()
}

#[test]
fn each_call_becomes_the_body_with_names_of_its_own() {
    let twice = function("Twice", "a w", vec![node("MatMul", "a w", "t"), node("Relu", "t", "o")], "o");
    let nodes = vec![call("first", "Twice", "x w1", "h"), call("first", "Twice", "h w2", "y")];
    let inlined = inline(with_functions(nodes, vec![twice])).unwrap();
    assert_eq!(
        shown(&inlined),
        ["MatMul x w1 -> first/t", "Relu first/t -> h", "MatMul h w2 -> first_1/t", "Relu first_1/t -> y",]
    );
    assert!(inlined.functions.is_empty());
    assert_eq!(inlined.opset_import.len(), 1);
    assert_eq!(inlined.graph.unwrap().node[0].name, "first/MatMul");
}

#[test]
fn functions_call_functions_and_hand_attributes_on() {
    let mut soft = node("Softmax", "a", "o");
    soft.attribute.push(Attribute {
        name: "axis".to_owned(),
        ref_attr_name: "along".to_owned(),
        kind: 2,
        ..Attribute::default()
    });
    let inner = Function { attribute: vec!["along".to_owned()], ..function("Soft", "a", vec![soft], "o") };
    let outer =
        function("Outer", "a", vec![with(call("soft", "Soft", "a", "s"), "along", 3), call("", "Soft", "s", "o")], "o");
    let inlined = inline(with_functions(vec![call("", "Outer", "x", "y")], vec![inner, outer])).unwrap();
    let nodes = &inlined.graph.as_ref().unwrap().node;
    assert_eq!(shown(&inlined), ["Softmax x -> Outer/s", "Softmax Outer/s -> y"]);
    assert_eq!((nodes[0].attribute[0].name.as_str(), nodes[0].attribute[0].i), ("axis", 3));
    // What the call leaves out is left to the operator's default.
    assert!(nodes[1].attribute.is_empty());
}

#[test]
fn names_inside_of_a_bodys_branches_follow() {
    let branch = |out: &str| graph(vec![], vec![node("Mul", "a t", out)], vec![value(out, None)]);
    let made = around(around(node("If", "c", "o"), "then_branch", branch("p")), "else_branch", branch("q"));
    let body = vec![node("Relu", "a", "t"), node("IsNaN", "t", "c"), made];
    let inlined =
        inline(with_functions(vec![call("f", "Choose", "x", "y")], vec![function("Choose", "a", body, "o")])).unwrap();
    let then_branch = inlined.graph.as_ref().unwrap().node[2].attribute[0].g.as_ref().unwrap();
    assert_eq!((then_branch.node[0].input.join(" "), then_branch.output[0].name.as_str()), ("x f/t".to_owned(), "f/p"));
}

#[test]
fn a_result_that_is_a_parameter_is_copied() {
    let passing = function("Pass", "a b", vec![node("Add", "a b", "s")], "a s s");
    let inlined = inline(with_functions(vec![call("f", "Pass", "x x", "p y q")], vec![passing])).unwrap();
    assert_eq!(shown(&inlined), ["Add x x -> y", "Identity x -> p", "Identity y -> q"]);
}

#[test]
fn a_function_that_calls_itself_is_an_error() {
    let circle = function("Circle", "a", vec![call("", "Circle", "a", "o")], "o");
    let error = inline(with_functions(vec![call("", "Circle", "x", "y")], vec![circle])).unwrap_err();
    assert!(error.message.contains("`Circle` calls itself"), "{error}");
    let double =
        |name: &str, other: &str| function(name, "a", vec![call("", other, "a", "t"), call("", other, "t", "o")], "o");
    // Thirty functions that each call the next twice.
    let names: Vec<String> = (0..30).map(|index| format!("f{index}")).collect();
    let mut functions: Vec<Function> = names.windows(2).map(|pair| double(&pair[0], &pair[1])).collect();
    functions.push(function("f29", "a", vec![node("Relu", "a", "o")], "o"));
    let error = at_most(with_functions(vec![call("", "f0", "x", "y")], functions), 1000).unwrap_err();
    assert!(error.message.contains("more than 1000 nodes"), "{error}");
    // And the last of them holds nothing.
    let mut functions: Vec<Function> = names.windows(2).map(|pair| double(&pair[0], &pair[1])).collect();
    functions.push(function("f29", "a", vec![], "o"));
    let error = at_most(with_functions(vec![call("", "f0", "x", "y")], functions), 1000).unwrap_err();
    assert!(error.message.contains("more than 1000 nodes"), "{error}");
}

#[test]
fn another_version_of_the_operators_is_an_error() {
    let mut old = function("Old", "a", vec![node("Relu", "a", "o")], "o");
    old.opset_import[0].version = 12;
    let model = with_functions(vec![call("", "Old", "x", "y")], vec![old]);
    let error = consistent(&model).unwrap_err();
    assert!(inline(model).is_ok());
    assert_eq!(error.message, "a function is written for `ai.onnx` 12, the model for 17");
}
