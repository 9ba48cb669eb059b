use super::*;
use clap::CommandFactory;

use crate::config::Environment;

fn replay(line: &[&str]) -> Replay {
    let all = ["runtrail", "replay", "--system", "akribes", "-"];
    let all = all.iter().chain(line).map(OsString::from);
    match parse(all).unwrap().command {
        Command::Replay(replay) => replay,
        other => panic!("{other:?} is no replay"),
    }
}

#[test]
fn a_service_is_named_by_its_name_then_by_its_attributes_then_by_the_system() {
    let named = |name: &str, attributes: &str| {
        let line = ["--service-name", name, "--resource-attributes", attributes];
        let settings = replay(&line).settings(&Environment::default());
        settings.unwrap().core.resource.service_name
    };
    assert_eq!(named("a", "service.name=b"), "a");
    assert_eq!(named("", "service.name=b"), "b");
    assert_eq!(named("", "service.name=b,service.name=c"), "c");
    assert_eq!(named("", "service.name="), "akribes");
    assert_eq!(named("", "team=b"), "akribes");
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}
