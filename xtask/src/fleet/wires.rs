//! A network of its own for each node, whose ways to the others are cut and mended, one way or both.
//!
//! Each node is in a network namespace behind one router, and this program is at the router: so its
//! clients reach every node, whatever is cut. A namespace lives as long as the process that holds it, and
//! that one as long as we do: nothing remains, and nothing outside of them is changed.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use super::node::Addresses;
use crate::child::{Child, is_installed};
use crate::report::Failure;

/// What it takes, and the Debian packages that have it.
const PROGRAMS: [(&str, &str); 3] = [
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
];
/// Whoever holds a namespace says when it does, and ends with our end of its pipe.
const HOLD: &str = "echo; read -r _";

/// From one node to another.
pub(crate) type Way = (usize, usize);

/// The router, and a namespace for each node.
#[derive(Debug)]
pub(crate) struct Wires {
    /// First of all dropped: this thread goes home.
    _inside: Inside,
    router: Room,
    rooms: Vec<Room>,
    cut: BTreeSet<Way>,
}

impl Wires {
    /// Namespaces for so many nodes; from now on this thread, and what it starts, is at the router.
    pub(super) fn new(nodes: usize) -> Result<Self, Failure> {
        if let Some((program, package)) = PROGRAMS.iter().find(|(name, _)| !is_installed(name)) {
            return Err(Failure::NotRun(format!(
                "`{program}` is not installed (Debian: {package}), and without it there are no namespaces"
            )));
        }
        let router = Room::open()?;
        let rooms: Vec<Room> = (0..nodes).map(|_| Room::open()).collect::<Result<_, _>>()?;
        let mut script = vec![
            "ip link set lo up".to_owned(),
            "echo 1 > /proc/sys/net/ipv4/ip_forward".to_owned(),
        ];
        for (index, room) in rooms.iter().enumerate() {
            let (wire, gate, pid) = (format!("w{index}"), gate(index), room.pid());
            script.extend([
                format!("ip link add {wire} type veth peer name eth0 netns {pid}"),
                format!("ip addr add {gate}/30 dev {wire}"),
                format!("ip link set {wire} up"),
            ]);
        }
        router.run(&script)?;
        for (index, room) in rooms.iter().enumerate() {
            room.run(&[
                "ip link set lo up".to_owned(),
                format!("ip addr add {}/30 dev eth0", host(index)),
                "ip link set eth0 up".to_owned(),
                format!("ip route add default via {}", gate(index)),
            ])?;
        }
        let mut wires = Self {
            _inside: Inside::go(router.pid())?,
            router,
            rooms,
            cut: BTreeSet::new(),
        };
        // Whether the kernel can cut at all shows before anything depends on it.
        wires.cut(BTreeSet::from([(0, nodes.saturating_sub(1))]))?;
        wires.cut(BTreeSet::new())?;
        Ok(wires)
    }

    pub(super) fn addresses(index: usize) -> Addresses {
        let at = |port| SocketAddr::from((host(index), port));
        Addresses {
            http: at(8080),
            admin: at(8081),
            cluster: at(7946),
        }
    }

    /// What is put before a command so that it runs where this node is.
    pub(super) fn inside(&self, index: usize) -> Vec<String> {
        enter(self.rooms[index].pid())
    }

    /// Exactly these ways are cut from now on: the router drops what comes on them, and tells nobody.
    pub(crate) fn cut(&mut self, ways: BTreeSet<Way>) -> Result<(), Failure> {
        let rule = |verb: &str, (from, to): Way| {
            let (from, to) = (host(from), host(to));
            format!("ip rule {verb} from {from} to {to} blackhole")
        };
        let new = ways.difference(&self.cut).map(|way| rule("add", *way));
        let old = self.cut.difference(&ways).map(|way| rule("del", *way));
        let script: Vec<String> = new.chain(old).collect();
        if !script.is_empty() {
            self.router.run(&script)?;
        }
        self.cut = ways;
        Ok(())
    }
}

/// The router's end of a node's wire.
fn gate(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, third(index), 1)
}

/// The node's own.
fn host(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, third(index), 2)
}

fn third(index: usize) -> u8 {
    u8::try_from(index + 1).expect("nodes are few")
}

fn enter(pid: u32) -> Vec<String> {
    let words = ["nsenter", "--target", &pid.to_string(), "--net", "--"];
    words.map(str::to_owned).to_vec()
}

/// One namespace, and the process that holds it.
#[derive(Debug)]
struct Room {
    holder: std::process::Child,
}

impl Room {
    fn open() -> Result<Self, Failure> {
        let cannot = |why: &str| {
            let why = why.trim();
            Failure::NotRun(format!(
                "no network namespace can be made here ({why}): it takes root, or \
                 `unshare --user --map-root-user` before the command"
            ))
        };
        let holder = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", HOLD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for us; this one ends when we do.
            .process_group(0)
            .spawn();
        let mut room = Self {
            holder: holder.map_err(|error| cannot(&error.to_string()))?,
        };
        let mut said = [0];
        let stdout = room.holder.stdout.as_mut().expect("it is piped");
        if stdout.read_exact(&mut said).is_ok() {
            return Ok(room);
        }
        let mut why = String::new();
        let stderr = room.holder.stderr.as_mut().expect("it is piped");
        stderr.read_to_string(&mut why).ok();
        Err(cannot(&why))
    }

    fn pid(&self) -> u32 {
        self.holder.id()
    }

    fn run(&self, script: &[String]) -> Result<(), Failure> {
        let script = script.join("\n");
        let words = enter(self.pid());
        let said = Child::new(&words[0])
            .args(&words[1..])
            .args(["sh", "-ec", &script])
            .silent()
            .listen()?;
        if said.success {
            return Ok(());
        }
        let why = said.lines.join(" / ");
        Err(Failure::NotRun(format!(
            "no network can be made here, or its ways cannot be cut (veth, forwarding and policy routing \
             are needed): {why}"
        )))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        self.holder.wait().ok();
    }
}

use inside::Inside;

#[cfg(target_os = "linux")]
mod inside {
    use std::fs::File;
    use std::os::fd::AsFd as _;

    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    use crate::report::{Failure, because};

    /// This thread is in another namespace until it is dropped.
    #[derive(Debug)]
    pub(super) struct Inside {
        home: File,
    }

    impl Inside {
        pub(super) fn go(pid: u32) -> Result<Self, Failure> {
            let open = |path: String| File::open(&path).map_err(because(path));
            let home = open("/proc/thread-self/ns/net".to_owned())?;
            let there = open(format!("/proc/{pid}/ns/net"))?;
            enter(&there).map_err(because("cannot enter a network namespace"))?;
            Ok(Self { home })
        }
    }

    impl Drop for Inside {
        fn drop(&mut self) {
            enter(&self.home).expect("it came from there");
        }
    }

    fn enter(there: &File) -> rustix::io::Result<()> {
        move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::Network))
    }
}

#[cfg(not(target_os = "linux"))]
mod inside {
    use crate::report::Failure;

    /// There are none.
    #[derive(Debug)]
    pub(super) struct Inside;

    impl Inside {
        pub(super) fn go(_: u32) -> Result<Self, Failure> {
            Err(Failure::not_run("network namespaces are Linux's"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, UdpSocket};
    use std::time::Duration;

    use super::*;

    /// Sends a word from one to another, and says whether it came.
    fn comes(from: &UdpSocket, to: &UdpSocket) -> bool {
        let address = to.local_addr().expect("it is bound");
        from.send_to(b"word", address).expect("it is routed");
        match to.recv(&mut [0; 8]) {
            Ok(length) => length == 4,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn socket(wires: &Wires, index: usize) -> UdpSocket {
        let there = Inside::go(wires.rooms[index].pid()).expect("it is ours");
        let socket = UdpSocket::bind((host(index), 0)).expect("it is its own");
        drop(there);
        let patience = Some(Duration::from_millis(300));
        socket.set_read_timeout(patience).expect("it is not zero");
        socket
    }

    #[test]
    fn a_way_is_cut_in_one_direction_and_mended_and_we_go_home() {
        let wires = Wires::new(3);
        let mut wires = match wires {
            Ok(wires) => wires,
            Err(Failure::NotRun(why)) => return eprintln!("not run: {why}"),
            Err(failure) => panic!("{failure}"),
        };
        let sockets: Vec<_> = (0..3).map(|index| socket(&wires, index)).collect();
        let [a, b, c] = [0, 1, 2].map(|index: usize| &sockets[index]);
        assert!(comes(a, b) && comes(b, a) && comes(c, b));
        wires.cut(BTreeSet::from([(0, 1)])).expect("it can");
        assert!(!comes(a, b) && comes(b, a) && comes(c, b) && comes(a, c));
        let here = UdpSocket::bind((gate(0), 0)).expect("we are at the router");
        assert!(comes(&here, a) && comes(&here, b));
        wires.cut(BTreeSet::new()).expect("it can");
        assert!(comes(a, b));
        drop(wires);
        assert!(TcpListener::bind((gate(0), 0)).is_err(), "we are home");
    }
}
