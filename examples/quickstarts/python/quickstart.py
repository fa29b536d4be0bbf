"""Hears the events of a Bitrix24 application by long polling, with requests.

    python3 quickstart.py PROGRAM [FLAGS]

PROGRAM is b24pull, which plays the portal: "PROGRAM portal FLAGS" is started,
and ended. On a real portal use Portal and Events with its address and a token.
"""

import json
import queue
import subprocess
import sys
import threading
import time

import requests

ZEROS = "0" * 26
LATE = 5  # seconds that a message takes at most from its id to the history


class PollFailed(Exception):
    """Does not say the address, which holds the channels."""


class Portal:
    """REST of a portal with an OAuth token. No error tells the token."""

    def __init__(self, address, token, authority=None):
        self.http = requests.Session()
        self.address, self.token, self.authority = address, token, authority

    def call(self, method, **params):
        body = self.request("POST", f"{self.address}/rest/{method}", json={**params, "auth": self.token}, timeout=30).json()
        if "result" not in body:
            raise RuntimeError(f"{method}: {body.get('error')}: {body.get('error_description')}")
        return body["result"]

    def request(self, method, address, **more):
        # The session's own verify gives way to REQUESTS_CA_BUNDLE.
        return self.http.request(method, address, verify=self.authority, **more)


class Events:
    """Iterates over a subscriber's events: kept ones each once, whatever is cut.

    It hangs from the greatest mid it has seen. Mids are not the order in which
    messages are stored, so after each answer it reads the history once more,
    from a mid that is old enough for nothing to turn up below it.
    """

    def __init__(self, portal):
        self.portal = portal
        self.seen = {}  # mid -> when it came
        self.highest = self.settled = ZEROS
        self.waiting = []
        self.closed = False
        self.configure()
        self.settle()
        self.waiting.clear()  # what was there before

    def configure(self):
        config = self.portal.call("pull.application.config.get")
        server, channels = config["server"], config["channels"]
        if server["version"] < 3:
            raise RuntimeError("mids begin with version 3")
        self.version = server["version"]
        self.address = server.get("long_pooling_secure") or server["long_polling_secure"]
        self.query = {"revision": 19}
        if config.get("jwt"):
            self.query["token"] = config["jwt"]
        else:
            self.query["CHANNEL_ID"] = "/".join(channels[k]["id"] for k in ("private", "shared") if k in channels)
        if config.get("clientId"):
            self.query["clientId"] = config["clientId"]
        if self.version >= 4:
            self.query["format"] = "json"

    def poll(self, mid, timeout):
        """The messages after a mid; none if none came in time."""
        try:
            answer = self.portal.request("GET", self.address, params={**self.query, "mid": mid}, timeout=(30, timeout))
        except requests.ReadTimeout:
            return []
        except requests.RequestException as e:
            raise PollFailed(type(e).__name__) from None
        if answer.status_code == 400:
            self.configure()  # the channels have ended
        if answer.status_code not in (200, 304):
            raise PollFailed(f"the push server answers {answer.status_code}")
        messages = decode(answer.text) if answer.status_code == 200 else []
        for m in messages:
            if m["mid"] not in self.seen:
                self.seen[m["mid"]] = time.monotonic()
                self.waiting.append(m)
            self.highest = max(self.highest, m["mid"])
        return messages

    def settle(self):
        """Reads from just before what is settled: what is kept from there on is there at once, and complete.

        Should nothing be kept any more, a live message can answer, which is too young to settle anything.
        """
        began = time.monotonic()
        mids = {m["mid"] for m in self.poll(str(max(int(self.settled) - 1, 0)).zfill(26), 2)}
        self.settled = max([self.settled, *(m for m in mids if self.seen[m] < began - LATE)])
        self.seen = {m: t for m, t in self.seen.items() if m >= self.settled or t > began - 300}

    def close(self):
        """Ends the iteration as soon as its poll ends."""
        self.closed = True

    def __iter__(self):
        while not self.closed:
            try:
                self.poll(self.highest, 60)
                self.settle()
            except PollFailed:
                time.sleep(0.5)
            ready, self.waiting = sorted(self.waiting, key=lambda m: m["mid"]), []
            for message in ready:
                event = message["text"]
                if event["module_id"].lower() == "pull":
                    self.configure()  # channel_expire, config_expire
                else:
                    yield event


def decode(text):
    """The messages of an answer: JSON from version 4 on, before that each between two marks."""
    if text.startswith("["):
        return json.loads(text)
    messages, at = [], 0
    while (at := text.find("#!NGINXNMS!#", at)) >= 0:
        # What ends a message can stand within it, too.
        message, at = json.JSONDecoder().raw_decode(text, at + 12)
        messages.append(message)
    return messages


def main(program, *flags):
    try:
        emulator = subprocess.Popen([program, "portal", *flags], stdout=subprocess.PIPE)
    except OSError as e:
        raise SystemExit(f"cannot start {program}: {e.strerror}")
    try:
        line = emulator.stdout.readline()
        if not line:
            raise SystemExit("the portal does not start")
        ready = json.loads(line)
        it = ready["portals"][0]

        def control(action, **params):
            answer = requests.post(f"{ready['control']}/v1/portals/{it['name']}/{action}", json=params, timeout=30)
            answer.raise_for_status()
            return answer.json()

        events = Events(Portal(it["url"], it["access_token"], ready["ca_file"]))
        print("version", events.version)
        heard = queue.Queue()

        def listen():
            for event in events:
                heard.put(event)

        def hear():
            event = heard.get(timeout=60)
            print(f"{event['command']}: {event['params']['text']}")

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        control("emit", command="greeting", params={"text": "hello"})
        hear()
        while control("cut")["connections"] == 0:  # it is between two polls
            time.sleep(0.01)
        print("cut")
        control("emit", command="greeting", params={"text": "hello again"})
        hear()
        events.close()
        while thread.is_alive():
            control("cut")
            thread.join(0.1)
    finally:
        emulator.terminate()
        emulator.wait()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    try:
        main(*sys.argv[1:])
    except (PollFailed, RuntimeError) as e:
        raise SystemExit(str(e))
