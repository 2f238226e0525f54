//! Weight decay reaches weights only.

use crate::device;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use mamba_vision::optim::no_weight_decay;
use mamba_vision::{BiMambaType, MambaSrConfig, VMambaConfig, VimConfig};

#[derive(Default)]
struct Decaying {
    path: Vec<String>,
    names: Vec<String>,
}

impl ModuleVisitor for Decaying {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        if !no_weight_decay().matches(&param.id, Some(&path)) {
            assert!(D > 1, "{path} decays");
            self.names.extend(self.path.iter().rev().find(|name| *name != "weight").cloned());
        }
    }
}

/// The layers whose weights decay.
fn decaying<M: Module>(model: &M) -> Vec<String> {
    let mut decaying = Decaying::default();
    model.visit(&mut decaying);
    decaying.names.sort();
    decaying.names.dedup();
    decaying.names
}

#[test]
fn only_weights_of_projections_and_convolutions_decay() {
    let device = device();
    let vim = VimConfig::new(8).with_depth(1);
    for kind in [BiMambaType::V1, BiMambaType::V2] {
        let model = vim.clone().with_bimamba_type(kind).init(&device);
        assert_eq!(decaying(&model), ["conv1d", "dt_proj", "head", "in_proj", "out_proj", "patch_embed", "x_proj"]);
    }
    let scan = ["conv1", "conv2d", "dt_projs_weight", "head", "in_proj", "out_proj", "reduction", "x_proj_weight"];
    assert_eq!(decaying(&VMambaConfig::vanilla(8, vec![1, 1]).init(&device)), scan);
    let names = decaying(&VMambaConfig::new(8, vec![1, 1]).init(&device));
    assert!(["conv", "conv2", "fc1", "fc2"].iter().all(|name| names.iter().any(|found| found == name)), "{names:?}");
    let names = decaying(&MambaSrConfig::opensr_rgb().init(&device));
    assert!(["conv", "conv_first", "upsample"].iter().all(|name| names.iter().any(|found| found == name)), "{names:?}");
}
