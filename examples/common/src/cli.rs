//! What a program says of a command line that it cannot follow: one line on stderr, and exit code 2.

use std::process::ExitCode;

use clap::error::ErrorKind;

/// Exit code for everything that is wrong with what the user gave.
pub const BAD_INPUT: u8 = 2;

/// Ends the program if help or the version was asked for, or no command was given; refuses everything else.
pub fn refuse_arguments(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    // The first paragraph says what is wrong; help tells the rest.
    refuse(error.to_string().split("\n\n").next().unwrap_or_default())
}

/// One line on stderr.
pub fn refuse(message: &str) -> ExitCode {
    eprintln!("{}", message.split_whitespace().collect::<Vec<_>>().join(" "));
    ExitCode::from(BAD_INPUT)
}
