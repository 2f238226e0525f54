//! The frame of a program: its command line, how it ends, and what it says of what it cannot do: one line on stderr, and
//! exit code 2.

use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::device;

/// Exit code for everything that is wrong with what the user gave.
pub const BAD_INPUT: u8 = 2;
/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// A command line: one of the commands `C`, and where to compute.
#[derive(Parser)]
#[command(version)]
pub struct Cli<C: Subcommand> {
    /// What to do.
    #[command(subcommand)]
    pub command: C,
    /// Where to compute: flex, ndarray, wgpu, vulkan, metal, webgpu, cuda or rocm, as far as compiled in
    #[arg(long, global = true, default_value = device::default_name())]
    pub device: String,
}

/// How a command ended.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// All is done.
    Finished,
    /// Ctrl-C was pressed before.
    Interrupted,
}

/// The `main` of the program `name`: `run` gets the command line, and what was typed after the command.
pub fn main<C: Subcommand, E: Display>(
    name: &'static str,
    about: &'static str,
    run: impl FnOnce(Cli<C>, &ArgMatches) -> Result<Outcome, E>,
) -> ExitCode {
    crate::keep_memory();
    let parsed = Cli::<C>::command().name(name).about(about).try_get_matches();
    let parsed = parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return refuse_arguments(&error),
    };
    match run(cli, matches.subcommand().map_or(&matches, |(_, typed)| typed)) {
        Ok(Outcome::Finished) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => refuse(&format!("error: {error}")),
    }
}

/// Ends the program if help or the version was asked for, or no command was given; refuses everything else.
fn refuse_arguments(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    // The first paragraph says what is wrong; help tells the rest.
    refuse(error.to_string().split("\n\n").next().unwrap_or_default())
}

/// One line on stderr.
fn refuse(message: &str) -> ExitCode {
    eprintln!("{}", message.split_whitespace().collect::<Vec<_>>().join(" "));
    ExitCode::from(BAD_INPUT)
}

/// The first Ctrl-C sets the flag, which asks for an end where it does no harm; the second ends the program.
///
/// # Errors
/// If the system does not let the program listen, or it does already.
pub fn listen_for_interrupt() -> Result<Arc<AtomicBool>, ctrlc::Error> {
    let flag = Arc::new(AtomicBool::new(false));
    let asked = flag.clone();
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
    })?;
    Ok(flag)
}
