//! A file from an HTTP server: gone on with where it was cut short, checked, and in place only when whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::{Result, WeightsError};

/// Hears how many bytes there are, and of how many where the server tells.
pub type Progress<'a> = dyn FnMut(u64, Option<u64>) + 'a;

/// No weights of torchvision are as large: a server that sends without end is stopped.
const MOST_BYTES: u64 = 4 << 30;

/// Fetches `url` into `path` by way of `path` + `.part`; the SHA-256 must begin with `sha256_prefix` (hexadecimal).
pub(crate) fn download(
    url: &str,
    path: &Path,
    sha256_prefix: &str,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder).map_err(WeightsError::io("create", folder))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let failed =
        |problem: String| WeightsError::Download { url: url.to_owned(), path: path.to_owned(), problem };

    let mut have = std::fs::metadata(&part).map_or(0, |meta| meta.len());
    let agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .http_status_as_error(false)
        .build()
        .new_agent();
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let mut response = request.call().map_err(|error| failed(error.to_string()))?;
    match response.status().as_u16() {
        206 if have > 0 => {}
        // The server does not go on in the middle: it sends all of it.
        200 => have = 0,
        // Nothing is left to send: the last attempt ended just before the check.
        416 if have > 0 => return finish(&part, path, url, sha256_prefix),
        status => return Err(failed(format!("the server answered {status}"))),
    }
    let total = response.body().content_length().map(|rest| have + rest);
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .append(have > 0)
        .truncate(have == 0)
        .open(&part)
        .map_err(WeightsError::io("write", &part))?;
    let mut body = response.body_mut().as_reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // What came stays in the part, for the next attempt.
            Err(error) => return Err(failed(format!("the connection was lost after {have} bytes: {error}"))),
        };
        file.write_all(&buffer[..read]).map_err(WeightsError::io("write", &part))?;
        have += read as u64;
        if have > MOST_BYTES {
            drop(file);
            let _ = std::fs::remove_file(&part);
            return Err(failed(format!("the server sent more than {MOST_BYTES} bytes")));
        }
        progress(have, total);
    }
    if let Some(total) = total.filter(|&total| have < total) {
        return Err(failed(format!("the connection was closed after {have} of {total} bytes")));
    }
    file.sync_all().map_err(WeightsError::io("write", &part))?;
    drop(file);
    finish(&part, path, url, sha256_prefix)
}

/// Checks the part and gives it its name.
fn finish(part: &Path, path: &Path, url: &str, sha256_prefix: &str) -> Result<()> {
    let mut file = File::open(part).map_err(WeightsError::io("read", part))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(WeightsError::io("read", part))? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if !found.starts_with(sha256_prefix) {
        // To go on from wrong bytes would fail every time.
        let _ = std::fs::remove_file(part);
        let expected = sha256_prefix.to_owned();
        return Err(WeightsError::WrongSha256 { url: url.to_owned(), found, expected });
    }
    std::fs::rename(part, path).map_err(WeightsError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    const BYTES: &[u8] = b"pretend that these are weights, and that there are many of them";

    fn sha(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    type Answer = fn(Option<String>) -> (String, &'static [u8]);

    /// Serves one connection after another: `answer` gets the `Range` header and gives the response's head and body.
    fn serve(answers: Vec<Answer>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/w.pth", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut range = None;
                for line in BufReader::new(&stream).lines().map(Result::unwrap) {
                    if line.is_empty() {
                        break;
                    }
                    let (name, value) = line.split_once(':').unwrap_or_default();
                    if name.eq_ignore_ascii_case("range") {
                        range = Some(value.trim().to_owned());
                    }
                }
                let (head, body) = answer(range);
                (&stream).write_all(head.as_bytes()).unwrap();
                (&stream).write_all(body).unwrap();
            }
        });
        url
    }

    fn head(status: &str, length: usize) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
    }

    #[test]
    fn a_download_that_is_cut_short_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache/w.pth");
        let url = serve(vec![
            |range| {
                assert_eq!(range, None);
                (head("200 OK", BYTES.len()), &BYTES[..20])
            },
            |range| {
                assert_eq!(range.as_deref(), Some("bytes=20-"));
                (head("206 Partial Content", BYTES.len() - 20), &BYTES[20..])
            },
        ]);
        let digest = sha(BYTES);
        let error = download(&url, &path, &digest[..8], &mut |_, _| {}).unwrap_err();
        assert!(matches!(error, WeightsError::Download { .. }), "{error}");
        assert!(!path.exists());
        let mut heard = Vec::new();
        download(&url, &path, &digest[..8], &mut |have, total| heard.push((have, total))).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), BYTES);
        assert_eq!(heard.last(), Some(&(BYTES.len() as u64, Some(BYTES.len() as u64))));
        assert_eq!(std::fs::read_dir(folder.path().join("cache")).unwrap().count(), 1, "no part is left");
    }

    #[test]
    fn a_server_that_does_not_go_on_in_the_middle_sends_all_of_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.pth");
        std::fs::write(folder.path().join("w.pth.part"), b"old").unwrap();
        let url = serve(vec![|_| (head("200 OK", BYTES.len()), BYTES)]);
        download(&url, &path, &sha(BYTES)[..8], &mut |_, _| {}).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), BYTES);
    }

    #[test]
    fn what_is_not_the_file_is_refused_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.pth");
        let url =
            serve(vec![|_| (head("200 OK", BYTES.len()), BYTES), |_| (head("404 Not Found", 4), b"none")]);
        let error = download(&url, &path, "00000000", &mut |_, _| {}).unwrap_err();
        assert!(matches!(error, WeightsError::WrongSha256 { .. }), "{error}");
        let error = download(&url, &path, "00000000", &mut |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("the server answered 404"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
