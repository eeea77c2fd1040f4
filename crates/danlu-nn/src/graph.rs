//! A network as a directed acyclic graph of semantic operations, free of any device.

use std::fmt;

use crate::error::{NnError, Result};
use crate::init::InitMethod;
use crate::ops::Op;
use crate::shape::Shape;

/// A node of a graph: what one layer computes. Nodes are numbered in the order of computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) usize);

impl NodeId {
    /// Position in the order of computation; 0 is the input.
    pub fn index(self) -> usize {
        self.0
    }
}

/// What a parameter is; weight decay is usually kept off everything but the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// Filters, `[out, in / groups, rows, columns]`.
    ConvWeight,
    /// Matrix of a linear layer, `[out, in]`.
    LinearWeight,
    /// Bias of a convolution or linear layer, `[out]`.
    Bias,
    /// Scale of a batch norm, `[channels]`.
    NormWeight,
    /// Shift of a batch norm, `[channels]`.
    NormBias,
}

impl ParamKind {
    /// Whether it is a matrix or filter bank (what weight decay is usually applied to).
    pub fn is_weight(self) -> bool {
        matches!(self, ParamKind::ConvWeight | ParamKind::LinearWeight)
    }
}

/// A trainable tensor of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamInfo {
    /// PyTorch's name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// Sizes in PyTorch's layout.
    pub shape: Vec<usize>,
    /// What it is.
    pub kind: ParamKind,
    /// The layer it belongs to; grows with depth.
    pub layer: NodeId,
    /// Whether it is the scale of the last batch norm of a residual branch.
    pub last_of_residual: bool,
    /// How the network's own recipe initialises it.
    pub init: InitMethod,
}

impl ParamInfo {
    /// Number of values.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A tensor that is not trained but belongs to the state: the running estimates of a batch norm.
#[derive(Clone, Debug, PartialEq)]
pub struct BufferInfo {
    /// PyTorch's name, such as `bn1.running_mean`.
    pub name: String,
    /// Sizes; empty for `num_batches_tracked`.
    pub shape: Vec<usize>,
    /// The layer it belongs to.
    pub layer: NodeId,
}

/// A batch norm of the graph.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NormInfo {
    pub(crate) name: String,
    pub(crate) channels: usize,
    pub(crate) eps: f64,
    pub(crate) momentum: f64,
    pub(crate) layer: NodeId,
}

/// A node with its inputs and parameters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) op: Op,
    pub(crate) inputs: Vec<NodeId>,
    /// Indices into the graph's parameters.
    pub(crate) params: Vec<usize>,
    /// Index into the graph's norms.
    pub(crate) norm: Option<usize>,
}

/// A network: built by [`GraphBuilder`](crate::GraphBuilder) or a [`NetworkConfig`](crate::NetworkConfig), run by an
/// [`Engine`](crate::Engine). The last node gives the logits `[N, classes]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) params: Vec<ParamInfo>,
    pub(crate) norms: Vec<NormInfo>,
    pub(crate) input: Shape,
    pub(crate) classes: usize,
}

/// One row of the layer table.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerRow {
    /// The node, for taps.
    pub node: NodeId,
    /// Name of the layer.
    pub name: String,
    /// What it computes: `conv 3x3 bn relu`.
    pub op: String,
    /// Shape of one sample's output.
    pub output: Shape,
    /// Number of trainable values.
    pub params: usize,
    /// Floating-point operations of the forward pass of one image (a multiply-add is two).
    pub flops: u64,
}

impl Graph {
    /// Shape of one image that the network was built for.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The trainable tensors, in order.
    pub fn params(&self) -> &[ParamInfo] {
        &self.params
    }

    /// Number of trainable values.
    pub fn param_count(&self) -> usize {
        self.params.iter().map(ParamInfo::elements).sum()
    }

    /// The tensors of the state that are not trained: `running_mean`, `running_var` and `num_batches_tracked` of
    /// each batch norm.
    pub fn buffers(&self) -> Vec<BufferInfo> {
        let entry = |norm: &NormInfo, field: &str, shape: Vec<usize>| BufferInfo {
            name: format!("{}.{field}", norm.name),
            shape,
            layer: norm.layer,
        };
        self.norms
            .iter()
            .flat_map(|norm| {
                [
                    entry(norm, "running_mean", vec![norm.channels]),
                    entry(norm, "running_var", vec![norm.channels]),
                    entry(norm, "num_batches_tracked", vec![]),
                ]
            })
            .collect()
    }

    /// The layer table for images of `height` x `width`.
    ///
    /// # Errors
    /// Where the sizes do not fit, naming the layer.
    pub fn layers(&self, height: usize, width: usize) -> Result<Vec<LayerRow>> {
        let shapes = self.shapes(height, width)?;
        Ok(self
            .nodes
            .iter()
            .enumerate()
            .skip(1)
            .map(|(i, node)| {
                let inputs: Vec<Shape> = node.inputs.iter().map(|&id| shapes[id.0]).collect();
                LayerRow {
                    node: NodeId(i),
                    name: node.name.clone(),
                    op: node.op.kind(),
                    output: shapes[i],
                    params: node.params.iter().map(|&p| self.params[p].elements()).sum(),
                    flops: node.op.operation().map_or(0, |op| op.flops(&inputs, shapes[i])),
                }
            })
            .collect())
    }

    /// The same network with every dropout and drop-path off: a training pass is then a function of the image alone, as
    /// Grad-CAM needs it. Parameters and names stay.
    #[must_use]
    pub fn without_dropout(mut self) -> Graph {
        for node in &mut self.nodes {
            match &mut node.op {
                crate::ops::Op::Dropout(op) => op.p = 0.0,
                crate::ops::Op::DropPath(op) => op.p = 0.0,
                _ => {}
            }
        }
        self
    }

    /// The same network with a last layer of `classes` outputs.
    ///
    /// # Errors
    /// Below 2 classes, or where the last layer is not a linear one.
    pub fn with_classes(mut self, classes: usize) -> Result<Graph> {
        if classes < 2 {
            return Err(NnError::Input(format!(
                "a classifier needs at least 2 classes and {classes} were given"
            )));
        }
        let Some(Node { op: Op::Linear(op), params, .. }) = self.nodes.last_mut() else {
            let name = self.nodes.last().map_or("", |node| node.name.as_str());
            return Err(NnError::Input(format!(
                "the last layer `{name}` is not linear: it cannot be replaced"
            )));
        };
        op.out_features = classes;
        for &param in params.iter() {
            self.params[param].shape[0] = classes;
        }
        self.classes = classes;
        Ok(self)
    }

    /// Forward floating-point operations of one image of that size.
    ///
    /// # Errors
    /// Where the sizes do not fit.
    pub fn flops(&self, height: usize, width: usize) -> Result<u64> {
        Ok(self.layers(height, width)?.iter().map(|row| row.flops).sum())
    }

    /// The node of that name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.name == name).map(NodeId)
    }

    /// The name of a node.
    pub fn name(&self, node: NodeId) -> &str {
        self.nodes.get(node.0).map_or("", |node| &node.name)
    }

    /// The last node: the logits.
    pub fn output(&self) -> NodeId {
        NodeId(self.nodes.len() - 1)
    }

    /// The shape of a node's value for an image of that size.
    ///
    /// # Errors
    /// Where the sizes do not fit, with the layer's name.
    pub fn shape_of(&self, node: NodeId, height: usize, width: usize) -> Result<Shape> {
        Ok(self.shapes(height, width)?[node.0])
    }

    /// The shape of every node's output for that image size.
    pub(crate) fn shapes(&self, height: usize, width: usize) -> Result<Vec<Shape>> {
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let inputs: Vec<Shape> = node.inputs.iter().map(|&id| shapes[id.0]).collect();
            let shape = match node.op.operation() {
                None => Shape::new(height, width, self.input.c),
                Some(op) => op.output(&node.name, &inputs)?,
            };
            if let Some(&weight) = node.params.first() {
                let declared = node.op.operation().map(|op| op.params(&node.name, &inputs));
                let now = declared.and_then(|d| d.into_iter().next()).map(|d| d.shape);
                if now.as_ref() != Some(&self.params[weight].shape) {
                    return Err(NnError::shape(
                        &node.name,
                        format!(
                            "its weight is {:?} and an input of {} at image size {height}x{width} needs {:?}",
                            self.params[weight].shape,
                            inputs[0],
                            now.unwrap_or_default()
                        ),
                        format!(
                            "the network was built for {}x{} images: use that size, or pool to a fixed size before \
                             the linear layer",
                            self.input.h, self.input.w
                        ),
                    ));
                }
            }
            shapes.push(shape);
        }
        Ok(shapes)
    }
}

/// The layer table as text, for images of the size that the network was built for.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(rows) = self.layers(self.input.h, self.input.w) else { return Ok(()) };
        let width = |get: fn(&LayerRow) -> usize| rows.iter().map(get).max().unwrap_or(0);
        let (name, op) = (width(|r| r.name.len()), width(|r| r.op.len()));
        for row in &rows {
            writeln!(
                f,
                "{:name$}  {:op$}  {:>12}  {:>10}  {:>9.2} MFLOP",
                row.name,
                row.op,
                row.output.to_string(),
                row.params,
                row.flops as f64 / 1e6,
            )?;
        }
        Ok(())
    }
}
