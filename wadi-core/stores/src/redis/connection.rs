//! The connection to the server: one, which all calls share, and made again where it broke.
//!
//! Nobody waits here for longer than whoever calls. What was asked on a connection that broke may have been done; this
//! asks nothing twice but what the server said it did not do.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, Cmd, IntoConnectionInfo, Pipeline, RedisResult, Value};
use wadi_core::clock::{BootClock, Clock, Moment};
use wadi_core::store::StoreError;

use super::error::{RedisOpenError, refused, unreadable};
use super::names::Names;
use super::scripts::{Script, TEXTS};

/// The form of what is kept; another one is another number.
const FORM: i64 = 1;
/// A connection that nothing came on for so long may be gone unnoticed; it is asked first, and has so long to answer.
const RESTS: Duration = Duration::from_secs(1);

/// A server, reached or not.
pub(super) struct Server {
    client: Client,
    pub(super) names: Names,
    /// Held across no await: what is asked, is asked on a copy.
    link: Mutex<Option<Link>>,
    /// One connects, and who comes meanwhile waits for it.
    connecting: tokio::sync::Mutex<()>,
}

/// A connection, and what the scripts are called on it.
#[derive(Clone)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    scripts: Arc<[String]>,
    /// When it answered last, by the monotonic clock.
    answered: Arc<AtomicU64>,
}

impl fmt::Debug for Server {
    /// Without the address, which may have a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// Connects.
    pub(super) async fn open(address: &str, application: &str) -> Result<Self, RedisOpenError> {
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            // What a call that gave up had not sent yet, is not sent once its connection is given up, too.
            .set_linger_time(Duration::ZERO);
        let client = Client::open(address.into_connection_info()?.set_tcp_settings(tcp))?;
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Else it is chosen at the first connection over TLS, which panics where a program has two. Who
            // was faster has chosen.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let server = Self {
            client,
            names: Names::of(application)?,
            link: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        };
        let link = server.connect().await?;
        server.keep(Some(link));
        Ok(server)
    }

    /// A new connection to a server that is fit to be a store.
    pub(super) async fn connect(&self) -> Result<Link, RedisOpenError> {
        // Each call has its own time.
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None);
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let mut connection = connecting.await?;
        examine(&mut connection).await?;
        let mut loads = redis::pipe();
        for text in TEXTS {
            loads.cmd("SCRIPT").arg("LOAD").arg(text);
        }
        let scripts: Vec<String> = loads.query_async(&mut connection).await?;
        let mut link = Link {
            connection,
            scripts: scripts.into(),
            answered: Arc::new(AtomicU64::new(BootClock.now().as_nanos())),
        };
        let mut form = link.command(Script::Form);
        form.arg(1).arg(&self.names.form).arg(FORM);
        let found: i64 = form.query_async(&mut link.connection).await?;
        if found == FORM {
            Ok(link)
        } else {
            Err(RedisOpenError::Newer { found, known: FORM })
        }
    }

    /// Asks for the same step with each of these, in their order, and has all answers.
    pub(super) async fn ask<T>(
        &self,
        script: Script,
        of: &[T],
        words: impl Fn(&T, &mut Cmd),
    ) -> Result<Vec<RedisResult<Value>>, StoreError> {
        let mut answers = Vec::new();
        let mut asked: Vec<usize> = (0..of.len()).collect();
        for tries_left in [1, 0] {
            let link = self.link().await?;
            let mut pipeline = Pipeline::with_capacity(asked.len());
            for place in &asked {
                let mut command = link.command(script);
                words(&of[*place], &mut command);
                pipeline.add_command(command);
            }
            let got = self.send(&link, pipeline).await?;
            if got.len() != asked.len() {
                return Err(unreadable());
            }
            let mut again = Vec::new();
            for (place, answer) in asked.into_iter().zip(got) {
                if tries_left > 0 && is_unknown(&answer) {
                    // Somebody had the server forget its scripts: it did nothing.
                    again.push(place);
                }
                if place < answers.len() {
                    answers[place] = answer;
                } else {
                    answers.push(answer);
                }
            }
            if again.is_empty() {
                break;
            }
            self.let_go(&link);
            asked = again;
        }
        Ok(answers)
    }

    /// Asks for one step.
    pub(super) async fn ask_one(
        &self,
        script: Script,
        words: impl Fn(&mut Cmd),
    ) -> Result<Value, StoreError> {
        let answers = self
            .ask(script, &[()], |(), command| words(command))
            .await?;
        let answer = answers.into_iter().next().ok_or_else(unreadable)?;
        answer.map_err(|error| refused(&error))
    }

    /// Asks what needs no script.
    pub(super) async fn read(
        &self,
        pipeline: Pipeline,
    ) -> Result<Vec<RedisResult<Value>>, StoreError> {
        let link = self.link().await?;
        self.send(&link, pipeline).await
    }

    /// The next call makes a new connection: this one does not answer.
    pub(super) fn forget(&self) {
        self.keep(None);
    }

    async fn send(
        &self,
        link: &Link,
        mut pipeline: Pipeline,
    ) -> Result<Vec<RedisResult<Value>>, StoreError> {
        pipeline.ignore_errors();
        let sent: RedisResult<Vec<RedisResult<Value>>> =
            pipeline.query_async(&mut link.connection.clone()).await;
        let is_over = match &sent {
            Ok(answers) => {
                link.has_answered();
                answers.iter().any(no_longer_serves)
            }
            Err(_) => true,
        };
        if is_over {
            self.let_go(link);
        }
        sent.map_err(|error| refused(&error))
    }

    async fn link(&self) -> Result<Link, StoreError> {
        if let Some(link) = self.kept() {
            if link.is_there().await {
                return Ok(link);
            }
            self.let_go(&link);
        }
        let _alone = self.connecting.lock().await;
        if let Some(link) = self.kept() {
            return Ok(link);
        }
        let link = self.connect().await?;
        self.keep(Some(link.clone()));
        Ok(link)
    }

    fn kept(&self) -> Option<Link> {
        self.link
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn keep(&self, link: Option<Link>) {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = link;
    }

    /// Not another one that was made since.
    fn let_go(&self, link: &Link) {
        let mut kept = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if kept
            .as_ref()
            .is_some_and(|kept| Arc::ptr_eq(&kept.scripts, &link.scripts))
        {
            *kept = None;
        }
    }
}

impl Link {
    /// A step, to which its keys and words are to be added.
    pub(super) fn command(&self, script: Script) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.scripts[script.place()]);
        command
    }

    /// Whether it still answers: what is sent on one that does not may be done, or not.
    async fn is_there(&self) -> bool {
        let answered = Moment::from_nanos(self.answered.load(Relaxed));
        if BootClock.now().since(answered) < RESTS {
            return true;
        }
        let mut connection = self.connection.clone();
        let ping = redis::cmd("PING");
        let asked = tokio::time::timeout(RESTS, ping.exec_async(&mut connection)).await;
        let is_there = matches!(asked, Ok(Ok(())));
        if is_there {
            self.has_answered();
        }
        is_there
    }

    fn has_answered(&self) {
        self.answered.store(BootClock.now().as_nanos(), Relaxed);
    }

    /// Asks on this connection and no other.
    pub(super) async fn send(self, mut pipeline: Pipeline) -> RedisResult<Vec<RedisResult<Value>>> {
        let mut connection = self.connection;
        pipeline.ignore_errors().query_async(&mut connection).await
    }
}

fn is_unknown(answer: &RedisResult<Value>) -> bool {
    answer
        .as_ref()
        .is_err_and(|error| error.code() == Some("NOSCRIPT"))
}

/// It has become a replica, or has other users now: perhaps its name leads to another one.
fn no_longer_serves(answer: &RedisResult<Value>) -> bool {
    let code = answer.as_ref().err().and_then(redis::RedisError::code);
    matches!(code, Some("READONLY" | "NOAUTH" | "MOVED"))
}

/// Whether it may be a store. What it does not say, is not held against it.
async fn examine(connection: &mut MultiplexedConnection) -> Result<(), RedisOpenError> {
    let info: RedisResult<String> = redis::cmd("INFO").query_async(connection).await;
    let info = match info {
        Ok(info) => info,
        Err(error) if error.is_unrecoverable_error() => return Err(error.into()),
        Err(_) => String::new(),
    };
    let says = |what: &str| {
        let lines = info.lines();
        let mut found = lines.filter_map(|line| line.split_once(':'));
        found.find_map(|(name, value)| (name == what).then(|| value.trim().to_owned()))
    };
    if says("cluster_enabled").as_deref() == Some("1") {
        return Err(RedisOpenError::Cluster);
    }
    if says("role").as_deref() == Some("slave") {
        return Err(RedisOpenError::Replica);
    }
    let mut policy = says("maxmemory_policy");
    if policy.is_none() {
        let mut config = redis::cmd("CONFIG");
        config.arg("GET").arg("maxmemory-policy");
        let said: RedisResult<Vec<String>> = config.query_async(connection).await;
        policy = said.ok().and_then(|said| said.into_iter().nth(1));
    }
    match policy {
        Some(policy) if policy != "noeviction" => Err(RedisOpenError::Evicts { policy }),
        _ => Ok(()),
    }
}
