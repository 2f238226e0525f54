//! What a parameter is called: its path in a module, with PyTorch's names at the end.

/// Where a visitor is in a module.
#[derive(Default)]
pub(super) struct Place {
    path: Vec<String>,
    containers: Vec<String>,
}

impl Place {
    pub fn enter(&mut self, name: &str, container: &str) {
        self.path.push(name.to_string());
        self.containers.push(container.to_string());
    }

    pub fn exit(&mut self) {
        self.path.pop();
        self.containers.pop();
    }

    /// The path of the parameter here, with what PyTorch calls the parameters of norms, and without variants of enums.
    pub fn name(&self) -> String {
        let named = self.path.iter().zip(&self.containers).filter(|(_, container)| !container.starts_with("Enum:"));
        let path = named.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(".");
        let renamed = match path.rsplit_once('.') {
            Some((norm, "gamma")) => Some(format!("{norm}.weight")),
            Some((norm, "beta")) => Some(format!("{norm}.bias")),
            _ => None,
        };
        renamed.filter(|_| self.is_in("Norm")).unwrap_or(path)
    }

    /// Whether a parameter of `D` dimensions is the weight of a linear layer, which PyTorch has the other way round.
    pub fn is_transposed<const D: usize>(&self) -> bool {
        D == 2 && self.is_in(":Linear")
    }

    fn is_in(&self, kind: &str) -> bool {
        self.containers.last().is_some_and(|container| container.ends_with(kind))
    }
}
