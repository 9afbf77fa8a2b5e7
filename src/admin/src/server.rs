//! HTTP/1.1 on a listener of its own, on the calling thread.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::{Status, render};

/// Serves until the process ends. Blocks the calling thread, which must not be a shard's.
pub fn serve(listener: std::net::TcpListener, status: Arc<Status>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async { accept(TcpListener::from_std(listener)?, status).await })
}

async fn accept(listener: TcpListener, status: Arc<Status>) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(CONNECTION_COUNT_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return Ok(()) };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: others may give some back.
                tracing::warn!(%error, "admin connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let status = status.clone();
        tokio::task::spawn_local(async move {
            let _slot = slot;
            let service = service_fn(move |request| respond(request, status.clone()));
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "admin connection ended");
            }
        });
    }
}

async fn respond(request: Request<Incoming>, status: Arc<Status>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (code, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => match render(&status) {
            Ok(text) => (StatusCode::OK, OPENMETRICS, text),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, "metrics could not be rendered\n".to_owned()),
        },
        // The process lives and its control thread answers: no restart brings a failed directory back, so 200 it is.
        (&Method::GET, "/health") => (StatusCode::OK, TEXT, health(status.offline_directories())),
        (&Method::GET, "/ready") if status.is_ready() => (StatusCode::OK, TEXT, "ready\n".to_owned()),
        (&Method::GET, "/ready") => (StatusCode::SERVICE_UNAVAILABLE, TEXT, "not serving clients\n".to_owned()),
        (&Method::GET, _) => (StatusCode::NOT_FOUND, TEXT, "try /metrics, /health or /ready\n".to_owned()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    Ok(response)
}

fn health(offline_directories: u64) -> String {
    match offline_directories {
        0 => "ok\n".to_owned(),
        count => format!("log directories offline: {count}\n"),
    }
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const CONNECTION_COUNT_MAX: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
