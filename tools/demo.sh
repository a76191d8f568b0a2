#!/bin/sh
# Makes the demo's store: one principal with a ticket, two with keys. An operator would type the same commands.
#   tools/demo.sh .crossbar/principals.db
set -eu
echo "Adding the demo's principals ..."
store="$1.new" # takes its name when it is whole
rm -f "$store"*

wampauth --store "$store" add client1 --realm realm1 --role frontend --json >/dev/null
MYTICKET="secret123" wampauth --store "$store" ticket client1 --from-env MYTICKET --json >/dev/null

wampauth --store "$store" add client01@example.com --realm devices --role device --extra '{"foo": 23}' --json >/dev/null
wampauth --store "$store" key client01@example.com .keys/client01.key.pub --json >/dev/null

# Two keys that nobody has the private half of: a principal may have several.
wampauth --store "$store" add client02@example.com --realm devices --role device --extra '{"foo": 42, "bar": "baz"}' --json >/dev/null
for key in 1 2; do
    public=$(wampauth keygen .keys/thrown-away.key)
    rm .keys/thrown-away.key .keys/thrown-away.key.pub
    wampauth --store "$store" key client02@example.com "$public" --json >/dev/null
done

mv "$store" "$1"
rm -f "$store".*
