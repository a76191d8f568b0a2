// How does a client prove who it is with AutobahnJS, on Node.js 22 or newer?
//
//     MYTICKET="secret123" node examples/interop/autobahn.mjs client1             # WAMP-ticket
//     node examples/interop/autobahn.mjs client01@example.com .keys/client01.key  # WAMP-cryptosign

import { readFileSync } from "node:fs";
import autobahn from "autobahn";

const [authid, key] = process.argv.slice(2);
const url = process.env.ROUTER ?? "ws://localhost:8080/ws";

function connectWithTicket() {
  const onchallenge = () => process.env.MYTICKET;
  return new autobahn.Connection({ url, realm: "realm1", authid, authmethods: ["ticket"], onchallenge });
}

function connectWithKey() {
  const pkey = autobahn.nacl.sign.keyPair.fromSeed(readFileSync(key)); // the 32 raw bytes of the file
  return autobahn.auth_cryptosign.create_connection({ url, realm: "devices", authid, pkey });
}

const connection = key ? connectWithKey() : connectWithTicket();
process.exitCode = 1; // unless it joins
connection.onopen = (session, details) => {
  console.log(details.realm, details.authid, details.authrole);
  process.exitCode = 0;
  connection.close();
};
connection.onclose = () => true; // that's all: don't try again. AutobahnJS itself has shown the reason
connection.open();
