//! A plain reverse proxy: each request goes to the next ready node, whoever it is from.
//!
//! Bodies stream both ways and upgrades pass, so WebSockets work. A node that refuses the connection is
//! passed over, as balancers do; nothing that was sent is sent again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::header::{CONNECTION, HeaderValue, RETRY_AFTER, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::fleet::Balancer;

const CONNECT_LIMIT: Duration = Duration::from_secs(1);

type Body = Either<Incoming, Full<Bytes>>;

/// Serves until it is dropped; connections that are open then end with the program.
pub(super) async fn serve(listener: TcpListener, balancer: Arc<Balancer>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Too many open files, most likely: some will be closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let balancer = Arc::clone(&balancer);
        let service = service_fn(move |request| {
            let balancer = Arc::clone(&balancer);
            async move { Ok::<_, hyper::Error>(forward(request, peer, &balancer).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        // A client that goes away ends its connection, and that is all.
        tokio::spawn(async { connection.await.ok() });
    }
}

async fn forward(
    mut request: Request<Incoming>,
    peer: SocketAddr,
    balancer: &Balancer,
) -> Response<Body> {
    let Some(stream) = connect(balancer).await else {
        return unavailable(StatusCode::SERVICE_UNAVAILABLE, "no node is ready\n");
    };
    let Ok((mut sender, connection)) = handshake(TokioIo::new(stream)).await else {
        return unavailable(StatusCode::BAD_GATEWAY, "the node closed the connection\n");
    };
    tokio::spawn(async { connection.with_upgrades().await.ok() });

    let wants_upgrade = request.headers().contains_key(UPGRADE);
    let client = wants_upgrade.then(|| hyper::upgrade::on(&mut request));
    if !wants_upgrade {
        request.headers_mut().remove(CONNECTION);
    }
    if let Ok(peer) = HeaderValue::try_from(peer.ip().to_string()) {
        request.headers_mut().append("x-forwarded-for", peer);
    }
    let Ok(mut response) = sender.send_request(request).await else {
        return unavailable(StatusCode::BAD_GATEWAY, "the node gave no answer\n");
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if let Some(client) = client {
            let node = hyper::upgrade::on(&mut response);
            tokio::spawn(join(client, node));
        }
    } else {
        // What a node says of its connection to us is not for the client.
        response.headers_mut().remove(CONNECTION);
    }
    response.map(Either::Left)
}

/// A connection to the next node that takes one.
async fn connect(balancer: &Balancer) -> Option<TcpStream> {
    while let Some(index) = balancer.next() {
        let connecting = TcpStream::connect(balancer.address(index));
        match tokio::time::timeout(CONNECT_LIMIT, connecting).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).ok();
                return Some(stream);
            }
            _ => balancer.set_ready(index, false),
        }
    }
    None
}

/// Carries bytes both ways until one side ends.
async fn join(client: OnUpgrade, node: OnUpgrade) {
    if let (Ok(client), Ok(node)) = tokio::join!(client, node) {
        let (mut client, mut node) = (TokioIo::new(client), TokioIo::new(node));
        tokio::io::copy_bidirectional(&mut client, &mut node)
            .await
            .ok();
    }
}

fn unavailable(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::new(Bytes::from_static(
        text.as_bytes(),
    ))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::*;
    use crate::fleet::{Client, runtime};

    const LIMIT: Duration = Duration::from_secs(5);

    async fn echo(request: Request<Incoming>) -> hyper::Result<Response<Incoming>> {
        Ok(Response::new(request.into_body()))
    }

    async fn backend(listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(echo));
            tokio::spawn(async { connection.await.ok() });
        }
    }

    #[test]
    fn requests_go_to_whoever_is_ready_and_else_nowhere() {
        runtime().expect("a runtime").block_on(async {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let node = TcpListener::bind(any).await.expect("a port");
            let gone = TcpListener::bind(any).await.expect("a port");
            let front = TcpListener::bind(any).await.expect("a port");
            let address = |listener: &TcpListener| listener.local_addr().expect("bound");
            let balancer = Arc::new(Balancer::new([address(&gone), address(&node)]));
            let front_address = address(&front);
            drop(gone);
            tokio::spawn(backend(node));
            tokio::spawn(serve(front, Arc::clone(&balancer)));

            let client = Client::new();
            let ask = || async {
                let line = (Method::POST, "/echo");
                let body = "and back".to_owned();
                let answer = client.ask(front_address, line, "", body, LIMIT).await;
                answer.expect("the proxy answers")
            };
            assert_eq!(ask().await.status, StatusCode::SERVICE_UNAVAILABLE);
            balancer.set_ready(0, true);
            balancer.set_ready(1, true);
            for _ in 0..3 {
                assert_eq!(
                    ask().await.body,
                    "and back",
                    "one that is gone is passed over"
                );
            }
        });
    }
}
