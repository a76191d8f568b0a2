# What can be done here? `make help` lists it. Set-up is part of each target, and done once.

PYTHON ?= python3
STORE := .crossbar/principals.db
CERTS := .crossbar/certs/server.pem
HARDENED := --url wss://localhost:8443/ws --ca .crossbar/certs/client.pem
PROBE := --realm realm1 --authid client1 --ticket-env MYTICKET --topic com.example.topic1 --procedure com.example.add2 \
	--key .keys/client01.key --key-authid client01@example.com --key-realm devices
# Only what is pinned is fetched, and what comes as source builds with what is already there.
INSTALL := python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONWARNINGS ?= ignore
.PHONY: help crossbar clients clients-function demo crossbar-hardened clients-hardened demo-hardened certs crossbar-scaled postgresql keys test test-all readme interop bench bench-quick bench-plots fuzz soak soak-attack lint clean
help: ## list the targets
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/; s/%/N/' | expand -t 20
crossbar: $(STORE) ## start the node, until Ctrl-C
	@wampauth start
clients: $(STORE) ## log in with good and with bad credentials (the node must be running)
clients-function: $(STORE) ## the same at the transport where the checks are called as functions
clients clients-function:
	MYTICKET="secret123" python client.py client1$(AT)
	MYTICKET="wrongpassword" python client.py client1$(AT) --expect com.example.invalid_ticket
	python client.py --key .keys/client01.key$(AT)
	python client.py --key .keys/client01-bad.key$(AT) --expect com.example.no_such_user
clients-function: AT := $() --url ws://localhost:8080/ws-function
crossbar-hardened: $(STORE) $(CERTS) .crossbar/sockets ## start the node behind TLS, with an authorizer, until Ctrl-C
	@wampauth start --config hardened.yaml
clients-hardened: $(STORE) $(CERTS) ## the four clients over TLS, and two that are told what they lack
	MYTICKET="secret123" python client.py client1 $(HARDENED)
	MYTICKET="wrongpassword" python client.py client1 $(HARDENED) --expect com.example.invalid_ticket
	python client.py --key .keys/client01.key $(HARDENED) --channel-binding tls-unique
	python client.py --key .keys/client01-bad.key $(HARDENED) --channel-binding tls-unique --expect com.example.no_such_user
	MYTICKET="secret123" python client.py client1 --expect com.example.tls_required
	python client.py --key .keys/client01.key $(HARDENED) --expect com.example.channel_binding_required
demo-hardened: $(STORE) $(CERTS) .crossbar/sockets ## all in one: start the hardened node, run its clients, stop it
	@wampauth start --config hardened.yaml $(MAKE) --no-print-directory clients-hardened && echo "All clients ended as expected."
demo: $(STORE) ## all in one: start the node, run the clients at both transports, stop the node
	@wampauth start $(MAKE) --no-print-directory clients clients-function && echo "All clients ended as expected."
stage-%: $(STORE) ## start the node of stages/N (N is 1 to 5), until Ctrl-C
	@wampauth start --directory stages/$*/.crossbar
probe-%: $(STORE) ## start the node of stages/N, attack it (a minute at most), stop it
	@MYTICKET="secret123" wampauth start --directory stages/$*/.crossbar wampauth probe $(or $(PROBED),ws://localhost:8080/ws) $(PROBE)
stage-5 probe-5: $(CERTS)
probe-5: PROBED = $(filter-out --url,$(HARDENED))
crossbar-scaled: $(STORE) .crossbar/admission.key .crossbar/sockets ## two proxies, two authenticators, until Ctrl-C
	@wampauth start --config scaled.yaml
postgresql: .venv/run ## install what a store in PostgreSQL needs
	@$(INSTALL) --require-hashes -r requirements/postgresql.txt
certs: $(CERTS) ## make a development CA and a certificate for localhost
keys: .keys/client01.key .keys/client01-bad.key ## make the demo's keys
test: ## run the tests, but for those that take long
test-all: ## run all the tests
test test-all: .venv/dev $(STORE) lint
	@pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder$(if $(filter test,$@), -m "not slow")
interop: examples/interop/.venv/run .venv/dev ## install other client libraries (needs npm), and log in with each
	@pytest tests/library/test_interop.py tests/library/test_example_javascript.py
bench: .venv/dev ## measure what it is like when 2,000 come back, in some fifteen minutes
	@$(INSTALL) --require-hashes -r requirements/bench.txt; python tools/bench/run.py
bench-quick: .venv/dev ## the same in a minute, more roughly
	@python tools/bench/run.py --quick
bench-plots: .venv/dev ## draw the plots of tools/bench/results.json
	@python tools/bench/plots.py
fuzz: .venv/dev ## attack the checks with 10,000 random claims
	@HYPOTHESIS_PROFILE=fuzz pytest tests/library/test_fuzz.py
soak: .venv/dev postgresql ## let a week pass at the scaled node, in an hour or SECONDS=...
	@python tools/soak/week.py --seconds $(or $(SECONDS),3600)
soak-attack: .venv/dev ## attack a hardened node in all ways, for ten minutes or SECONDS=...
	@python tools/soak/soak.py --seconds $(or $(SECONDS),600)
readme: .venv/dev $(STORE) ## rewrite the transcripts in README.md from what comes out today
	@python tests/library/readme.py
lint: .venv/dev ## check style and types
	@ruff check --quiet . && ruff format --quiet --check . && mypy --no-error-summary .
clean: ## remove what the other targets made
	rm -rf .venv build src/*.egg-info .*_cache .hypothesis .keys/*.key .keys/*.pub tools/bench/latest.json $(addprefix examples/,interop/.venv interop/node_modules javascript/node_modules)
	find .crossbar $(wildcard stages/*/.crossbar examples/*/.crossbar) -mindepth 1 -maxdepth 1 ! -name config.json ! -name '*.yaml' -exec rm -rf {} +
	find . -name __pycache__ -prune -exec rm -rf {} +
$(STORE): | .venv/run .keys/client01.key .keys/client01-bad.key
	@tools/demo.sh $@
.keys/%.key: | .venv/run
	@wampauth keygen $@ >/dev/null
.crossbar/admission.key:
	@umask 077 && head -c 32 /dev/urandom >$@
.crossbar/sockets:
	@mkdir -m 700 $@
$(CERTS): | .venv/run
	@umask 077 && mkdir -p $(@D) && python -m trustme --quiet --dir $(@D) --identities localhost 127.0.0.1 ::1

.venv/run: requirements/build.txt requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or newer is needed: try \`make PYTHON=python3.12 ...\`" >&2; exit 1; }
	@echo "Setting up .venv (once, a minute or two) ..."; $(PYTHON) -m venv .venv
	@$(INSTALL) --require-hashes -r requirements/build.txt
	@$(INSTALL) --require-hashes -r requirements/run.txt && $(INSTALL) -e . && touch $@
.venv/dev: .venv/run requirements/dev.txt
	@echo "Setting up the tools for tests (once) ..."; $(INSTALL) --require-hashes -r requirements/dev.txt && touch $@
examples/interop/.venv/run: examples/interop/requirements.txt $(wildcard examples/*/package-lock.json)
	@echo "Setting up the client libraries (once) ..."
	@for folder in interop javascript; do npm ci --prefix examples/$$folder --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error || exit; done
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/$(INSTALL) --require-hashes -r examples/interop/requirements.txt && touch $@
