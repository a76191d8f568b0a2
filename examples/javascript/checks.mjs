// Who may join? This component decides, on Node.js 22 or newer, and authenticator.py asks it.
//
//     node examples/javascript/checks.mjs        # says "ready" when it can be asked; goes on until Ctrl-C

import { createHash, timingSafeEqual } from "node:crypto";
import { fileURLToPath } from "node:url";
import autobahn from "autobahn";

const USERS = new Map([["alice", { ticket: "open-sesame", realm: "realm1", role: "frontend" }]]);

// Null is a no. What is thrown here is neither a no nor a yes: the client is told to come back later.
function ticket([authid, shown]) {
  const user = USERS.get(authid);
  return user && same(user.ticket, shown) ? { authid, realm: user.realm, role: user.role } : null;
}

function same(one, other) {
  const [a, b] = [one, other].map((text) => createHash("sha256").update(text).digest());
  return timingSafeEqual(a, b);
}

// A socket in a folder that only its owner can enter: that is how the router knows us.
const path = process.env.SOCKET ?? fileURLToPath(new URL(".crossbar/sockets/checks.sock", import.meta.url));

function connect() {
  const connection = new autobahn.Connection({
    transports: [{ type: "rawsocket", path }],
    realm: "realm-auth",
    max_retries: -1, // as long as it takes
    max_retry_delay: 2, // seconds
  });
  connection.onopen = async (session) => {
    await session.register("com.example.users.ticket", ticket);
    console.log("ready");
  };
  connection.open();
}

process.on("beforeExit", () => setTimeout(connect, 1000)); // AutobahnJS is done when the router says GOODBYE; we aren't
connect();
