# What can be done here? `make help` lists it. Set-up is part of each target, and done once.

PYTHON ?= python3
STORE := .crossbar/principals.db
CERTS := .crossbar/certs/server.pem
HARDENED := --url wss://localhost:8443/ws --ca .crossbar/certs/client.pem
MANAGE := python manage.py
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONWARNINGS ?= ignore

.DEFAULT_GOAL := help
.PHONY: help crossbar clients clients-function demo crossbar-hardened clients-hardened demo-hardened certs crossbar-scaled postgresql keys test readme interop bench bench-quick bench-plots fuzz lint clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 20

crossbar: $(STORE) ## start the node, until Ctrl-C
	@python node.py

clients: $(STORE) ## log in with good and with bad credentials (the node must be running)
	MYTICKET="secret123" python client.py client1
	MYTICKET="wrongpassword" python client.py client1 --expect com.example.invalid_ticket
	python client.py --key .keys/client01.key
	python client.py --key .keys/client01-bad.key --expect com.example.no_such_user

clients-function: $(STORE) ## the same at the door where the checks are called as functions
	MYTICKET="secret123" python client.py client1 --url ws://localhost:8080/ws-function
	MYTICKET="wrongpassword" python client.py client1 --url ws://localhost:8080/ws-function --expect com.example.invalid_ticket
	python client.py --key .keys/client01.key --url ws://localhost:8080/ws-function
	python client.py --key .keys/client01-bad.key --url ws://localhost:8080/ws-function --expect com.example.no_such_user

crossbar-hardened: $(STORE) $(CERTS) ## start the node behind TLS, with the fence, until Ctrl-C
	@python node.py --config config-hardened.json

clients-hardened: $(STORE) $(CERTS) ## the four clients over TLS, and two that are told what they lack
	MYTICKET="secret123" python client.py client1 $(HARDENED)
	MYTICKET="wrongpassword" python client.py client1 $(HARDENED) --expect com.example.invalid_ticket
	python client.py --key .keys/client01.key $(HARDENED) --channel-binding tls-unique
	python client.py --key .keys/client01-bad.key $(HARDENED) --channel-binding tls-unique --expect com.example.no_such_user
	MYTICKET="secret123" python client.py client1 --expect com.example.tls_required
	python client.py --key .keys/client01.key $(HARDENED) --expect com.example.channel_binding_required

demo-hardened: $(STORE) $(CERTS) ## all in one: start the hardened node, run its clients, stop it
	@python node.py --config config-hardened.json $(MAKE) --no-print-directory clients-hardened
	@echo "All clients ended as expected."

demo: $(STORE) ## all in one: start the node, run the clients at both doors, stop the node
	@python node.py $(MAKE) --no-print-directory clients clients-function
	@echo "All clients ended as expected."

crossbar-scaled: $(STORE) ## start the node with two proxies and two authenticators, until Ctrl-C
	@mkdir -p .crossbar/sockets && chmod 700 .crossbar/sockets
	@python node.py --config config-scaled.json

postgresql: .venv/run ## install what a store in PostgreSQL needs
	@python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-postgresql.txt

certs: $(CERTS) ## make a development CA and a certificate for localhost

keys: .keys/client01.key .keys/client01-bad.key ## make the demo's keys

test: .venv/dev $(STORE) lint ## run all the tests
	@pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

interop: interop/.venv/run .venv/dev ## install other client libraries (needs npm), and log in with each
	@pytest tests/test_interop.py

bench: .venv/dev ## measure what it costs, in some ten minutes
	@python bench/run.py

bench-quick: .venv/dev ## the same in a minute, more roughly
	@python bench/run.py --quick

bench-plots: .venv/dev ## draw the plots of bench/results.json
	@python bench/plots.py

fuzz: .venv/dev ## attack the checks with 10,000 random claims
	@HYPOTHESIS_PROFILE=fuzz pytest tests/test_fuzz.py

readme: .venv/dev $(STORE) ## rewrite the transcripts in README.md from what comes out today
	@python tests/readme.py

lint: .venv/dev ## check style and types
	@ruff check --quiet . && ruff format --quiet --check . && mypy --no-error-summary .

clean: ## remove what the other targets made
	rm -rf bench/latest.json .venv interop/.venv interop/node_modules .keys/*.key .keys/*.pub .pytest_cache .mypy_cache .ruff_cache .hypothesis __pycache__ */__pycache__
	find .crossbar -mindepth 1 ! -name 'config*.json' -delete

# The demo's principals. An operator would type the same commands.
$(STORE): | .venv/run .keys/client01.key .keys/client01-bad.key
	@echo "Adding the demo's principals ..."
	@rm -f $@.new*
	@$(MANAGE) --database $@.new add client1 --realm realm1 --role frontend
	@MYTICKET="secret123" $(MANAGE) --database $@.new ticket client1 --from-env MYTICKET 2>/dev/null
	@$(MANAGE) --database $@.new add client01@example.com --realm devices --role device --extra '{"foo": 23}'
	@$(MANAGE) --database $@.new key client01@example.com .keys/client01.key.pub 2>/dev/null
	@$(MANAGE) --database $@.new add client02@example.com --realm devices --role device --extra '{"foo": 42, "bar": "baz"}'
	@for key in 1 2; do \
		$(MANAGE) --database $@.new key client02@example.com $$($(MANAGE) keygen .keys/thrown-away.key) 2>/dev/null && \
		rm .keys/thrown-away.key .keys/thrown-away.key.pub || exit 1; \
	done
	@mv $@.new $@

.keys/%.key: | .venv/run
	@$(MANAGE) keygen $@ >/dev/null

$(CERTS): | .venv/run
	@mkdir -p $(@D) && chmod 700 $(@D)
	@umask 077 && python -m trustme --quiet --dir $(@D) --identities localhost 127.0.0.1 ::1

.venv/run: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or newer is needed: try \`make PYTHON=python3.12 ...\`" >&2; exit 1; }
	@echo "Setting up .venv (once, a minute or two) ..."
	@$(PYTHON) -m venv .venv
	@python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
	@touch $@

interop/.venv/run: interop/requirements.txt interop/package-lock.json
	@echo "Setting up the client libraries (once) ..."
	@npm ci --prefix interop --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error
	@$(PYTHON) -m venv interop/.venv
	@interop/.venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r interop/requirements.txt
	@touch $@

.venv/dev: .venv/run requirements-dev.txt
	@echo "Setting up the tools for tests (once) ..."
	@python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt
	@touch $@
