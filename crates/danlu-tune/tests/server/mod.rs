//! A PostgreSQL server of the test's own, on a loopback port, gone with the test.

use std::path::PathBuf;
use std::process::Command;

pub(crate) struct Server {
    folder: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
}

impl Server {
    /// Starts one, or says why not and gives `None` (the machine has no server: `scripts/install-test-tools`).
    pub(crate) fn start() -> Option<Server> {
        let Some(bin) = find() else {
            eprintln!("skipped: no PostgreSQL server on this machine (scripts/install-test-tools)");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a free port")
            .port();
        let server = Server { folder, bin, port };
        if is_root() {
            // The server refuses to run as root: the package's user runs it.
            let owned = Command::new("chown").arg("postgres").arg(server.folder.path()).status();
            assert!(owned.expect("chown").success(), "the user `postgres` comes with the package");
        }
        server.run("initdb", &["-A", "trust", "-U", "danlu", "--no-sync"]);
        server.control("start");
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://danlu@127.0.0.1:{}/postgres", self.port)
    }

    pub(crate) fn restart(&self) {
        self.control("restart");
    }

    fn control(&self, verb: &str) {
        let options = format!("-p {} -h 127.0.0.1 -k {} -F", self.port, self.folder.path().display());
        let log = self.folder.path().join("log").display().to_string();
        self.run("pg_ctl", &["-o", &options, "-l", &log, "-w", "-m", "immediate", verb]);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.bin.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let out = command
            .current_dir(self.folder.path())
            .args(arguments)
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .stdin(std::process::Stdio::null());
        // The server keeps the pipes of whoever starts it: its output goes nowhere, or waiting for it would never end.
        let status = out.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status();
        assert!(status.expect("runs").success(), "{arguments:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.control("stop");
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n")
}

fn find() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop()
}
