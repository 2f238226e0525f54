//! Checkpoints from the [Hugging Face hub](https://huggingface.co), which hf-hub keeps in the hub's usual cache.
//!
//! `HF_HOME`, `HF_ENDPOINT` and the token that `huggingface-cli login` stores are those of the hub's own programs.

use super::files::CANDIDATES;
use super::{CheckpointError, LoadOptions};
use crate::lm::MambaLm;
use burn::tensor::Device;
use hf_hub::Cache;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use std::path::{Component, Path, PathBuf};
use thiserror::Error;

/// Why a checkpoint did not come from the hub.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// A name that no repository has.
    #[error("`{name}` is no repository of the hub, expected owner/name")]
    Name {
        /// The name.
        name: String,
    },
    /// The hub does not answer, or refuses, or has no such repository or file.
    #[error("cannot fetch {file} of {repository} from the hub: {reason}")]
    Fetch {
        /// The repository.
        repository: String,
        /// What was asked for.
        file: String,
        /// What hf-hub says.
        reason: String,
    },
    /// The repository holds no weights that this library reads.
    #[error("{repository} has no weights, expected {expected}")]
    NoWeights {
        /// The repository.
        repository: String,
        /// The names that are looked for.
        expected: String,
    },
    /// What was fetched is not a checkpoint of a model that this library has.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl MambaLm {
    /// Loads the checkpoint of the repository `name` (`owner/name`) on the hub, with parameters in f32.
    ///
    /// # Errors
    /// [`HubError`] if it cannot be fetched, or as [`from_pretrained`](Self::from_pretrained).
    ///
    /// ```no_run
    /// use burn::tensor::Device;
    /// use mamba_blocks::MambaLm;
    ///
    /// # fn main() -> Result<(), mamba_blocks::HubError> {
    /// let model = MambaLm::from_hub("state-spaces/mamba-130m-hf", &Device::default())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_hub(name: &str, device: &Device) -> Result<Self, HubError> {
        Self::from_hub_with(name, LoadOptions::new(), device)
    }

    /// As [`from_hub`](Self::from_hub), with options.
    ///
    /// # Errors
    /// As [`from_hub`](Self::from_hub), and [`CheckpointError::DType`].
    ///
    /// ```no_run
    /// use burn::tensor::{DType, Device};
    /// use mamba_blocks::{LoadOptions, MambaLm};
    ///
    /// # fn main() -> Result<(), mamba_blocks::HubError> {
    /// let options = LoadOptions::new().with_dtype(DType::BF16);
    /// let model = MambaLm::from_hub_with("state-spaces/mamba-130m-hf", options, &Device::default())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_hub_with(name: &str, options: LoadOptions, device: &Device) -> Result<Self, HubError> {
        Ok(Self::from_pretrained_with(fetch_from_hub(name)?, options, device)?)
    }
}

/// Whether `name` could be a repository of the hub: `owner/name`.
///
/// ```
/// use mamba_blocks::is_hub_name;
///
/// assert!(is_hub_name("state-spaces/mamba-130m-hf"));
/// assert!(!is_hub_name("./models/mamba-130m-hf"));
/// ```
pub fn is_hub_name(name: &str) -> bool {
    let part = |part: &str| {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
    };
    name.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

/// Fetches the configuration, the weights and the tokenizer of the repository `name`, as far as they are not in the cache;
/// returns the folder that holds them.
///
/// # Errors
/// [`HubError`].
///
/// ```no_run
/// # fn main() -> Result<(), mamba_blocks::HubError> {
/// let folder = mamba_blocks::fetch_from_hub("state-spaces/mamba-130m-hf")?;
/// println!("config.json, the weights and the tokenizer are in {}", folder.display());
/// # Ok(())
/// # }
/// ```
pub fn fetch_from_hub(name: &str) -> Result<PathBuf, HubError> {
    if !is_hub_name(name) {
        return Err(HubError::Name { name: name.to_string() });
    }
    let api = ApiBuilder::from_env().build().map_err(failed(name, "the settings"))?;
    let repository = Repository { name, api: api.model(name.to_string()) };
    repository.fetch()
}

struct Repository<'a> {
    name: &'a str,
    api: ApiRepo,
}

impl Repository<'_> {
    fn fetch(&self) -> Result<PathBuf, HubError> {
        let files = match self.api.info() {
            Ok(repository) => repository.siblings,
            // What has been fetched before is used without the hub.
            Err(error) => return self.cached().ok_or_else(|| failed(self.name, "the list of files")(error)),
        };
        let files: Vec<String> = files.into_iter().map(|file| file.rfilename).filter(|name| is_plain(name)).collect();
        let config = self.get("config.json")?;
        let weights = weights(&files).ok_or_else(|| HubError::NoWeights {
            repository: self.name.to_string(),
            expected: CANDIDATES.join(" or "),
        })?;
        let tokenizer = files.iter().filter(|name| *name == "tokenizer.json");
        for file in weights.into_iter().chain(tokenizer) {
            self.get(file)?;
        }
        Ok(config.parent().map(Path::to_path_buf).unwrap_or_default())
    }

    /// The folder in the cache, if the repository is there.
    fn cached(&self) -> Option<PathBuf> {
        let config = Cache::from_env().model(self.name.to_string()).get("config.json")?;
        config.parent().map(Path::to_path_buf)
    }

    /// The path of a file, which is fetched if it is not in the cache.
    fn get(&self, file: &str) -> Result<PathBuf, HubError> {
        self.api.get(file).map_err(failed(self.name, file))
    }
}

/// The first of the candidates, with its shards if it is an index.
fn weights(files: &[String]) -> Option<Vec<&String>> {
    let first = CANDIDATES.iter().find_map(|candidate| files.iter().find(|file| file == candidate))?;
    let Some(of) = first.strip_suffix(".index.json") else { return Some(vec![first]) };
    let (stem, extension) = of.rsplit_once('.')?;
    let is_shard = |file: &&String| file.starts_with(&format!("{stem}-")) && file.ends_with(&format!(".{extension}"));
    Some(std::iter::once(first).chain(files.iter().filter(is_shard)).collect())
}

/// The name of a file in the repository's own folder.
fn is_plain(name: &str) -> bool {
    Path::new(name).components().eq([Component::Normal(name.as_ref())])
}

fn failed(repository: &str, file: &str) -> impl FnOnce(ApiError) -> HubError {
    let (repository, file) = (repository.to_string(), file.to_string());
    move |error| HubError::Fetch { repository, file, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_have_an_owner_and_a_name() {
        assert!(["state-spaces/mamba-130m-hf", "a/b", "tiiuae/falcon-mamba-7b_2.0"].into_iter().all(is_hub_name));
        let wrong =
            ["mamba", "", "/", "a/", "/b", "a/b/c", "../models", "a/..", "./b", "a b/c", "a\\b/c", "https://a/b"];
        assert!(!wrong.into_iter().any(is_hub_name));
        assert!(matches!(fetch_from_hub("a/.."), Err(HubError::Name { name }) if name == "a/.."));
    }

    #[test]
    fn the_weights_are_chosen_as_from_a_folder() {
        let chosen = |names: &[&str]| {
            let files: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            weights(&files).map(|files| files.into_iter().cloned().collect::<Vec<_>>())
        };
        assert_eq!(chosen(&["pytorch_model.bin", "model.safetensors"]).unwrap(), ["model.safetensors"]);
        let shards = ["model-1-of-2.safetensors", "model-2-of-2.safetensors", "other.safetensors", "pytorch_model.bin"];
        let index = "model.safetensors.index.json";
        assert_eq!(chosen(&[&[index], &shards[..]].concat()).unwrap(), [index, shards[0], shards[1]]);
        assert_eq!(chosen(&["README.md", "model.gguf"]), None);
    }
}
