//! What lies between the broker and its clients, and the clients' calls.

use crate::faults::Trouble;
use crate::net::{ConnId, Flying, Incoming, Leave};
use crate::trace::Who;
use crate::world::{Event, World};

/// What lies between.
impl World {
    fn net_ns(&mut self) -> u64 {
        let mut ns = self.rng.spread(10_000, 400_000);
        if self.rng.chance(self.faults.slow_per_mille) {
            ns += self.rng.spread(1_000_000, 200_000_000);
        }
        if self.faults.on(Trouble::SlowNet, self.now_ns) {
            ns *= self.rng.range(5, 40);
        }
        ns
    }

    /// Bytes leave, in runs; any run may be the connection's last.
    pub(crate) fn fly(&mut self, conn: ConnId, to_server: bool, mut bytes: Vec<u8>) {
        while !bytes.is_empty() {
            let max = self.faults.run_bytes_max.min(bytes.len() as u64);
            let run = if self.rng.chance(300) { self.rng.range(1, max) } else { max };
            let rest = bytes.split_off(run as usize);
            let end = self.net.conns.get_mut(&conn).expect("is there");
            let pipe = if to_server { &mut end.to_server } else { &mut end.to_client };
            if pipe.send(bytes) {
                self.land_later(conn, to_server);
            }
            bytes = rest;
            if self.rng.below(100_000) < self.faults.cuts_per_100k {
                self.cut(conn, to_server);
            }
        }
    }

    pub(crate) fn fly_end(&mut self, conn: ConnId, to_server: bool) {
        let end = self.net.conns.get_mut(&conn).expect("is there");
        let pipe = if to_server { &mut end.to_server } else { &mut end.to_client };
        if !std::mem::replace(&mut pipe.end_sent, true) && !pipe.void {
            pipe.flying.push_back(Flying::End);
            self.land_later(conn, to_server);
        }
    }

    fn land_later(&mut self, conn: ConnId, to_server: bool) {
        let after_ns = self.net_ns();
        let end = self.net.conns.get_mut(&conn).expect("is there");
        let pipe = if to_server { &mut end.to_server } else { &mut end.to_client };
        pipe.last_ns = pipe.last_ns.max(self.now_ns + after_ns);
        let at_ns = pipe.last_ns;
        self.at(at_ns, Event::Land { conn, to_server });
    }

    fn cut(&mut self, conn: ConnId, to_server: bool) {
        let how = self.rng.below(4);
        self.note(Who::World, "cut", [u64::from(conn.0), how, u64::from(to_server)], || {
            let how = ["both ends reset", "broker's end reset", "one way silent", "both ways silent"][how as usize];
            format!("connection {}: {how}", conn.0)
        });
        if how < 2 {
            let after_ns = self.rng.spread(1_000, 10_000_000);
            self.after(after_ns, Event::ResetServer { conn });
        }
        if how == 0 {
            self.reset_client_later(conn);
        }
        let end = self.net.conns.get_mut(&conn).expect("is there");
        end.disturbed = true;
        match how {
            0 => (),
            1 => end.to_client.void = true,
            2 if to_server => end.to_server.void = true,
            2 => end.to_client.void = true,
            _ => {
                end.to_server.void = true;
                end.to_client.void = true;
            }
        }
    }

    pub(crate) fn land(&mut self, conn: ConnId, to_server: bool) {
        let Some(end) = self.net.conns.get_mut(&conn) else { return };
        if to_server {
            end.to_server.land();
            if end.server_gone && !end.to_server.landed.is_empty() {
                // Nobody is there to read: the sender hears of it.
                end.to_server.forget();
                self.reset_client_later(conn);
            }
            return self.prod(conn);
        }
        end.to_client.land();
        if end.client_gone {
            if !end.to_client.landed.is_empty() {
                end.to_client.forget();
                let after_ns = self.net_ns();
                self.after(after_ns, Event::ResetServer { conn });
            }
            return self.prod(conn);
        }
        let client = end.client;
        self.poke(client);
    }

    pub(crate) fn arrive(&mut self, conn: ConnId) {
        if self.net.conns[&conn].server_gone {
            return;
        }
        let open: Vec<i32> = self.net.listeners.keys().copied().collect();
        if open.is_empty() {
            self.net.conns.get_mut(&conn).expect("is there").disturbed = true;
            return self.reset_client_later(conn);
        }
        let listener = open[self.rng.index(open.len())];
        let listening = self.net.listeners.get_mut(&listener).expect("just listed");
        listening.backlog.push_back(conn);
        self.prod_listener(listener);
    }

    pub(crate) fn reset_server(&mut self, conn: ConnId) {
        let Some(end) = self.net.conns.get_mut(&conn) else { return };
        end.server_reset = true;
        end.to_server.void = true;
        self.prod(conn);
    }

    pub(crate) fn reset_client(&mut self, conn: ConnId) {
        let Some(end) = self.net.conns.get_mut(&conn) else { return };
        end.client_reset = true;
        let client = end.client;
        self.poke(client);
    }

    pub(crate) fn reset_client_later(&mut self, conn: ConnId) {
        let after_ns = self.net_ns();
        self.after(after_ns, Event::ResetClient { conn });
    }

    /// The process or the machine is gone. After a power cut a client may never hear of it.
    pub(crate) fn drop_connections(&mut self, power_cut: bool) {
        for conn in self.net.kill() {
            let silent = power_cut && self.rng.coin();
            let end = self.net.conns.get_mut(&conn).expect("is there");
            end.disturbed = true;
            if silent {
                end.to_client.void = true;
                end.to_server.void = true;
            } else if self.rng.coin() {
                self.fly_end(conn, false);
            } else {
                self.reset_client_later(conn);
            }
        }
    }
}

/// The clients' side.
impl World {
    /// A new connection. Bytes may be sent at once; a refusal shows as a reset.
    pub fn connect(&mut self, client: usize) -> ConnId {
        let conn = self.net.add(client, self.faults.pipe_bytes);
        self.net.conns.get_mut(&conn).expect("just made").disturbed = self.stopping;
        let after_ns = self.net_ns();
        let at_ns = self.now_ns + after_ns;
        self.net.conns.get_mut(&conn).expect("just made").to_server.last_ns = at_ns;
        self.at(at_ns, Event::Arrive { conn });
        conn
    }

    /// Sends as much as fits; the client hears when more does.
    pub fn client_send(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        let end = &self.net.conns[&conn];
        if end.client_reset || end.to_server.end_sent {
            return 0;
        }
        let count = bytes.len().min(end.to_server.room());
        if count > 0 {
            self.fly(conn, true, bytes[..count].to_vec());
        }
        count
    }

    /// Reads what is there, up to `max` bytes.
    pub fn client_read(&mut self, conn: ConnId, max: usize) -> Incoming {
        let end = self.net.conns.get_mut(&conn).expect("the client has it open");
        if end.client_reset {
            return Incoming::Reset;
        }
        if end.to_client.landed.is_empty() {
            return if end.to_client.ended { Incoming::End } else { Incoming::Nothing };
        }
        let bytes = end.to_client.take(max);
        self.trace.bytes(&bytes);
        self.prod(conn);
        Incoming::Bytes(bytes)
    }

    /// The client leaves; the connection must not be used again.
    pub fn client_leave(&mut self, conn: ConnId, how: Leave) {
        let end = self.net.conns.get_mut(&conn).expect("the client has it open");
        end.client_gone = true;
        match how {
            Leave::Close => self.fly_end(conn, true),
            Leave::Reset => {
                let after_ns = self.net_ns();
                self.after(after_ns, Event::ResetServer { conn });
            }
            Leave::Vanish => {
                end.to_server.void = true;
                end.to_client.void = true;
            }
        }
    }

    /// Whether the network did something to this connection that excuses the broker from answering on it.
    pub fn is_disturbed(&self, conn: ConnId) -> bool {
        self.net.conns.get(&conn).is_none_or(|end| end.disturbed)
    }

    /// The broker is asked to stop: from now on it may end every connection.
    pub fn excuse_all(&mut self) {
        self.stopping = true;
        self.net.conns.values_mut().for_each(|end| end.disturbed = true);
    }

    /// The broker has taken bytes: the client may have more.
    pub(crate) fn poke_writer(&mut self, conn: ConnId) {
        let end = &self.net.conns[&conn];
        if !end.client_gone {
            let client = end.client;
            self.poke(client);
        }
    }
}
