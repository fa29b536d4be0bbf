// What has happened on a portal, put together from its events: who listens,
// which messages there are and who got them how. Knows nothing of the page.

/** How much is kept; older things are dropped. */
export const bounds = { lines: 300, requests: 200, listeners: 100, connections: 400 };

/** How long one who has gone is waited for, in milliseconds. */
export const patience = 120_000;

/** How soon a polling client asks again, at most. */
export const pollPause = 6_000;

/**
 * Model is one portal's past.
 *
 * A listener is a user with all its connections: when the last one has ended
 * the next one is taken for the same listener come back. A client over
 * websockets may read the history by polls, and one that polls has two polls
 * under way for moments, so a connection alone says little of who has got what.
 */
export class Model {
  constructor() {
    this.listeners = new Map(); // by user
    this.connections = new Map(); // by number, those that are open or were a moment ago
    this.lines = []; // the stream, the oldest first: {kind: "message" | "connected" | "ended" | "ping" | "pong", …}
    this.messages = new Map(); // by mid, those of the lines
    this.requests = [];
    this.dropped = 0; // messages
    this.next = 1;
  }

  /** apply takes an event of the portal. */
  apply(event) {
    const time = new Date(event.time);
    switch (event.kind) {
      case "subscribed": return this.subscribed(event, time);
      case "unsubscribed": return this.unsubscribed(event, time);
      case "published": return this.published(event, time);
      case "delivered": return this.delivered(event, time);
      case "ping":
      case "pong": return this.beat(event, time);
      case "request": return this.requested(event, time);
    }
  }

  listener(user, time) {
    const key = user ?? 0;
    let listener = this.listeners.get(key);
    if (!listener) {
      listener = { user: key, since: time, open: new Set(), transport: "", away: null, reason: "", broken: false, line: null, channels: new Set() };
      this.listeners.set(key, listener);
      if (this.listeners.size > bounds.listeners) {
        const gone = [...this.listeners.values()].find((l) => l.away);
        this.listeners.delete(gone ? gone.user : this.listeners.keys().next().value);
      }
    }
    return listener;
  }

  subscribed(event, time) {
    const first = !this.listeners.has(event.user ?? 0);
    const listener = this.listener(event.user, time);
    const connection = { number: event.subscriber, transport: event.transport, user: event.user, listener, since: time, ended: null };
    this.connections.set(connection.number, connection);
    if (this.connections.size > bounds.connections) this.connections.delete(this.connections.keys().next().value);
    const pause = listener.away ? time - listener.away : 0;
    const back = listener.away !== null && (listener.broken || pause > pollPause);
    if (back) listener.channels = new Set();
    for (const name of event.channels ?? []) listener.channels.add(channel(name));
    listener.open.add(connection);
    // a poll tells something only where nobody was there before
    const quiet = connection.transport === "poll" && !first && !back;
    if (!quiet || !listener.transport) listener.transport = connection.transport;
    Object.assign(listener, { away: null, reason: "", broken: false });
    const line = this.line({ kind: "connected", time, connection, back, pause, quiet, brought: [] });
    if (!quiet) listener.line = line;
  }

  unsubscribed(event, time) {
    const connection = this.connections.get(event.subscriber);
    if (!connection) return;
    connection.ended = time;
    const { listener } = connection;
    listener.open.delete(connection);
    const reason = event.reason ?? "";
    const quiet = connection.transport === "poll" && ["", "answered", "timeout", "client closed"].includes(reason);
    if (listener.open.size === 0) {
      Object.assign(listener, { away: time, reason, broken: !quiet, last: connection.number, transport: connection.transport });
    }
    this.line({ kind: "ended", time, connection, reason, code: event.code, quiet });
  }

  published(event, time) {
    const message = this.line({
      kind: "message", time, mid: event.mid ?? "", module: event.module ?? "", command: event.command ?? "",
      targets: event.targets ?? [], body: event.body, kept: event.kept, client: event.client, got: new Map(),
      // those who might get it: who listens now, and who may come back for it
      expected: [...this.listeners.values()].filter((l) => listens(l, time) && addressed(l, { targets: event.targets ?? [] })),
    });
    message.there = [...new Set(message.expected.flatMap((l) => [...l.open]))];
    if (message.mid) this.messages.set(message.mid, message);
  }

  delivered(event, time) {
    const connection = this.connections.get(event.subscriber);
    const message = this.messages.get(event.mid);
    if (!message || !connection) return;
    const { listener } = connection;
    const delivery = { connection, history: Boolean(event.history), after: time - message.time };
    const before = message.got.get(listener);
    if (before) before.push(delivery);
    else message.got.set(listener, [delivery]);
    touch(message);
    if (!before && delivery.history && listener.line) {
      listener.line.brought.push(message.command || message.mid);
      touch(listener.line);
    }
  }

  beat(event, time) {
    const connection = this.connections.get(event.subscriber);
    if (connection) this.line({ kind: event.kind, time, connection, client: event.client, quiet: true });
  }

  requested(event, time) {
    this.requests.push({ ...event, time, id: this.next++ });
    if (this.requests.length > bounds.requests) this.requests.shift();
  }

  line(line) {
    line.id = this.next++;
    line.version = 0;
    this.lines.push(line);
    if (this.lines.length > bounds.lines) {
      // what is quiet goes first: else polls and pings push the messages out
      const i = Math.max(this.lines.findIndex((l) => l.quiet), 0);
      const [gone] = this.lines.splice(i, 1);
      if (gone.kind === "message") {
        this.messages.delete(gone.mid);
        this.dropped++;
      }
    }
    return line;
  }

  /** away are those who have gone a moment ago and are waited for. */
  away(now) {
    return [...this.listeners.values()].filter((l) => l.away && now - l.away < patience &&
      (l.broken || (now - l.away > pollPause && now - l.away < patience / 4)));
  }
}

/**
 * receivers are who got a message and who has not: live, by the history, not at
 * all. One who got it live and finds it in the history too has got it live.
 */
export function receivers(message, now) {
  const live = [];
  const history = [];
  for (const [listener, deliveries] of message.got) {
    (deliveries.some((d) => !d.history) ? live : history).push({ listener, deliveries });
  }
  const none = message.expected.filter((l) => !message.got.has(l) && !left(l, now));
  live.sort((a, b) => a.listener.user - b.listener.user);
  history.sort((a, b) => a.listener.user - b.listener.user);
  none.sort((a, b) => a.user - b.user);
  return { live, history, none };
}

/** missed are connections that were open when a message was published, and were not sent it. */
export function missed(message) {
  const sent = new Set([...message.got.values()].flat().map((d) => d.connection));
  return message.there.filter((c) => c.transport !== "poll" && !sent.has(c));
}

/** listens reports whether a listener is there, or may come back. */
function listens(listener, time) {
  if (!listener.away) return true;
  return time - listener.away < (listener.broken ? patience : pollPause);
}

/** left reports whether a listener that polled has gone by itself, and not come back. */
function left(listener, now) {
  return Boolean(listener.away) && !listener.broken && now - listener.away > pollPause;
}

/** addressed reports whether a message goes to a channel that a listener listens to. */
function addressed(listener, event) {
  return event.targets.some((target) => listener.channels.has(channel(target)));
}

/**
 * channel is the name of a target's channel, whether it is addressed by its
 * public id, and whether another one has replaced it: who listens to a channel
 * when it is replaced goes on to the next one.
 */
const channel = (target) => target.replace(/( public)?( old)?$/, "");

function touch(line) { line.version++; }
