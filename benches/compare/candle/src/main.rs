//! `candle-peer FOLDER LENGTHS NEW REPEATS`: a row of `language.py`'s table for each length, by candle's Mamba on the CPU.
//!
//! Candle steps through a prompt token by token, with the head at each.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::mamba::{Config, Model, State};
use std::path::Path;
use std::time::Instant;

/// Of Hugging Face's configuration. Candle sets the other sizes itself: two times, four and sixteen, as in mamba-130m.
fn config(folder: &Path) -> Config {
    let text = std::fs::read_to_string(folder.join("config.json")).expect("FOLDER has a config.json");
    let json: serde_json::Value = serde_json::from_str(&text).expect("config.json is JSON");
    let size = |name: &str| json[name].as_u64().unwrap_or_else(|| panic!("config.json has {name}")) as usize;
    Config {
        d_model: size("hidden_size"),
        n_layer: size("num_hidden_layers"),
        vocab_size: size("vocab_size"),
        pad_vocab_size_multiple: 1,
    }
}

/// Of this process; none where the system does not tell.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map_or("unknown".into(), |kib| format!("{:.1} MB", kib * 1024.0 / 1e6))
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, lengths, new, repeats] = &arguments[..] else { panic!("FOLDER LENGTHS NEW REPEATS") };
    let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("{text} is not a number"));
    let (folder, new, repeats) = (Path::new(folder), number(new), number(repeats));

    let (config, device) = (config(folder), Device::Cpu);
    // SAFETY: nobody writes the file meanwhile.
    let weights =
        unsafe { VarBuilder::from_mmaped_safetensors(&[folder.join("model.safetensors")], DType::F32, &device)? };
    let weights = weights.rename_f(|name| name.replace("embedding.", "embeddings."));
    let model = Model::new(&config, weights.pp("backbone"))?;

    // The seconds of so many steps from the first token.
    let run = |tokens: usize| -> Result<f64> {
        let mut state = State::new(1, &config, DType::F32, &device)?;
        let start = Instant::now();
        for token in 0..tokens {
            model.forward(&Tensor::new(&[token as u32], &device)?, &mut state)?;
        }
        Ok(start.elapsed().as_secs_f64())
    };
    let rate = |tokens: usize| -> Result<f64> {
        run(tokens)?;
        let mut seconds = (0..repeats).map(|_| run(tokens)).collect::<Result<Vec<_>>>()?;
        seconds.sort_by(f64::total_cmp);
        Ok(tokens as f64 / seconds[repeats / 2])
    };
    for length in lengths.split(',').map(number) {
        let (prefill, decode) = (rate(length)?, rate(new)?);
        println!("| candle | 1 | {length} | {prefill:.1} | {decode:.1} | {} |", peak_memory());
    }
    Ok(())
}
