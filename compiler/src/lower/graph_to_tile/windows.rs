//! Convolution, pooling and windows.

use narae_isa::{Diagnostic, codes};

use super::scope::Scope;
use super::{Lowered, Lowering};
use crate::graph::NodeData;

impl Lowering {
    pub(super) fn windows(&mut self, _scope: &mut Scope<'_>, node: &NodeData) -> Lowered {
        let message = format!("`{}` has no lowering to instructions", node.op.name());
        Err(Diagnostic::new(&codes::E0201, message))
    }
}
