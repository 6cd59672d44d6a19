//! Functions of a model put in the place of the nodes that call them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Attribute, Function, Graph, Model, Node, OperatorSet};
use crate::error::{Error, Result};

/// How deep functions may call each other; deeper is taken for a circle.
const DEEPEST: usize = 64;

/// Most nodes that a model may become.
const MOST_NODES: usize = 1_000_000;

/// The model with the bodies of its functions in the place of their calls, and no functions.
///
/// A function may be written for another version of an operator set than the model; its nodes then stand where the model's
/// version is in force, which changes no type but may change a meaning: see [`consistent`].
///
/// # Errors
/// `Input` where a function calls itself, or the functions make more nodes than anybody wrote.
pub fn inline(model: Model) -> Result<Model> {
    at_most(model, MOST_NODES)
}

/// Checks that a model's functions are written for the operator sets of the model, so that inlined they mean the same.
///
/// # Errors
/// `Unsupported` where one is not.
pub fn consistent(model: &Model) -> Result<()> {
    for set in model.functions.iter().flat_map(|function| &function.opset_import) {
        let other = |known: &&OperatorSet| known.name() == set.name() && known.version != set.version;
        if let Some(known) = model.opset_import.iter().find(other) {
            let (name, ours, its) = (set.name(), known.version, set.version);
            return Err(Error::unsupported(format!("a function is written for `{name}` {its}, the model for {ours}"))
                .hint("write the model again with its functions inlined: `onnx.inliner.inline_local_functions`"));
        }
    }
    Ok(())
}

fn at_most(mut model: Model, limit: usize) -> Result<Model> {
    if model.functions.is_empty() {
        return Ok(model);
    }
    let functions = std::mem::take(&mut model.functions);
    for set in functions.iter().flat_map(|function| &function.opset_import) {
        if model.opset_import.iter().all(|known| known.name() != set.name()) {
            model.opset_import.push(set.clone());
        }
    }
    let by_name = functions.iter().map(|function| (key_of(function), function)).collect();
    let Some(graph) = &mut model.graph else { return Ok(model) };
    let mut taken = BTreeSet::new();
    names(graph, &mut taken);
    let mut inliner = Inliner { functions: by_name, taken, nodes: 0, limit };
    inliner.graph(graph, 0)?;
    // Domains that hold nothing but functions are in no operator set of a runtime.
    let called: BTreeSet<&str> = functions.iter().map(|function| function.domain.as_str()).collect();
    model.opset_import.retain(|set: &OperatorSet| set.is_standard() || !called.contains(set.domain.as_str()));
    Ok(model)
}

/// Domain, name and overload.
type Key<'a> = (&'a str, &'a str, &'a str);

fn key_of(function: &Function) -> Key<'_> {
    (domain(&function.domain), &function.name, &function.overload)
}

fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

/// Every name that a graph and those inside it use.
fn names(graph: &Graph, taken: &mut BTreeSet<String>) {
    let values = graph.input.iter().chain(&graph.output).chain(&graph.value_info);
    taken.extend(values.map(|value| value.name.clone()));
    taken.extend(graph.initializer.iter().map(|tensor| tensor.name.clone()));
    for node in &graph.node {
        taken.insert(node.name.clone());
        taken.extend(node.input.iter().chain(&node.output).cloned());
        node.attribute.iter().flat_map(super::types::graphs).for_each(|graph| names(graph, taken));
    }
}

struct Inliner<'a> {
    functions: BTreeMap<Key<'a>, &'a Function>,
    taken: BTreeSet<String>,
    nodes: usize,
    limit: usize,
}

impl Inliner<'_> {
    fn graph(&mut self, graph: &mut Graph, depth: usize) -> Result<()> {
        graph.node = self.nodes(std::mem::take(&mut graph.node), depth)?;
        Ok(())
    }

    fn nodes(&mut self, nodes: Vec<Node>, depth: usize) -> Result<Vec<Node>> {
        let mut done = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            let key = (domain(&node.domain), node.op_type.as_str(), node.overload.as_str());
            if let Some(&function) = self.functions.get(&key) {
                if depth >= DEEPEST {
                    return Err(Error::input(format!("function `{}` calls itself", function.name)));
                }
                // A call is a node too: functions without any may call each other without end.
                self.nodes += 1;
                let body = self.call(&node, function);
                done.extend(self.nodes(body, depth + 1)?);
            } else {
                for attribute in &mut node.attribute {
                    for graph in attribute.g.iter_mut().map(|graph| &mut **graph).chain(&mut attribute.graphs) {
                        self.graph(graph, depth)?;
                    }
                }
                self.nodes += 1;
                done.push(node);
            }
            if self.nodes > self.limit {
                return Err(Error::input(format!("its functions make more than {} nodes", self.limit)));
            }
        }
        Ok(done)
    }

    /// The body of `function` as `node` calls it.
    fn call(&mut self, node: &Node, function: &Function) -> Vec<Node> {
        let called = if node.name.is_empty() { &function.name } else { &node.name };
        let prefix = (0_usize..)
            .map(|number| if number == 0 { called.clone() } else { format!("{called}_{number}") })
            .find(|prefix| {
                let inside = format!("{prefix}/");
                self.taken.range(inside.clone()..).next().is_none_or(|name| !name.starts_with(&inside))
            })
            .unwrap_or_default();
        let mut renamed: HashMap<&str, String> = HashMap::new();
        for (index, parameter) in function.input.iter().enumerate() {
            renamed.insert(parameter, node.input.get(index).cloned().unwrap_or_default());
        }
        let mut copies = Vec::new();
        for (result, output) in function.output.iter().zip(&node.output).filter(|(_, output)| !output.is_empty()) {
            // A result that is a parameter, or another result too, has its name already.
            match renamed.get(result.as_str()) {
                Some(source) => copies.push(Node {
                    name: format!("{prefix}/{result}/copy"),
                    op_type: "Identity".to_owned(),
                    input: vec![source.clone()],
                    output: vec![output.clone()],
                    ..Node::default()
                }),
                None => {
                    renamed.insert(result, output.clone());
                }
            }
        }
        let scope = Scope { renamed, prefix: &prefix, call: node, function };
        let mut body: Vec<Node> = function.node.iter().map(|node| scope.node(node)).collect();
        body.extend(copies);
        let mut graph = Graph { node: body, ..Graph::default() };
        names(&graph, &mut self.taken);
        std::mem::take(&mut graph.node)
    }
}

/// One call of a function: what its names and attributes become.
struct Scope<'a> {
    renamed: HashMap<&'a str, String>,
    prefix: &'a str,
    call: &'a Node,
    function: &'a Function,
}

impl Scope<'_> {
    fn name(&self, name: &str) -> String {
        match self.renamed.get(name) {
            _ if name.is_empty() => String::new(),
            Some(renamed) => renamed.clone(),
            None => format!("{}/{name}", self.prefix),
        }
    }

    fn node(&self, node: &Node) -> Node {
        Node {
            // Found by the name of the layer in the function as well, which stands last.
            name: format!("{}/{}", self.prefix, if node.name.is_empty() { &node.op_type } else { &node.name }),
            input: node.input.iter().map(|name| self.name(name)).collect(),
            output: node.output.iter().map(|name| self.name(name)).collect(),
            attribute: node.attribute.iter().filter_map(|attribute| self.attribute(attribute)).collect(),
            ..node.clone()
        }
    }

    /// The attribute with what the call gives for it; `None` where that is left out.
    fn attribute(&self, attribute: &Attribute) -> Option<Attribute> {
        let mut attribute = if attribute.ref_attr_name.is_empty() {
            attribute.clone()
        } else {
            let given = self.call.attribute.iter().chain(&self.function.attribute_default);
            let given = given.into_iter().find(|given| given.name == attribute.ref_attr_name)?;
            // A graph of the call sees the names around the call.
            return Some(Attribute { name: attribute.name.clone(), ..given.clone() });
        };
        for graph in attribute.g.iter_mut().map(|graph| &mut **graph).chain(&mut attribute.graphs) {
            self.graph(graph);
        }
        Some(attribute)
    }

    fn graph(&self, graph: &mut Graph) {
        for value in graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info) {
            value.name = self.name(&value.name);
        }
        let sparse = graph.sparse_initializer.iter_mut().filter_map(|sparse| sparse.values.as_mut());
        for tensor in graph.initializer.iter_mut().chain(sparse) {
            tensor.name = self.name(&tensor.name);
        }
        for node in &mut graph.node {
            *node = self.node(node);
        }
    }
}

#[cfg(test)]
mod tests;
