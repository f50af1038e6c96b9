# Names for people; every recipe is one call of a script. `make` lists them.
# Settings for one run: PROFILE=demo, CLUSTER=197, GROUP=pilot, ARGS=--adopt, or any name of env/README.md.

# What deletes, the site that is broken on purpose, and the group that a command is about (csh has a GROUP of its
# own) are typed each time, never left over in the environment.
$(foreach name,YES SITE GROUP,$(if $(filter-out command line,$(origin $(name))),$(eval unexport $(name))))

# What is typed on the command line reaches the scripts as it was typed: make would expand its $. A recipe
# names such values by $$NAME only, so that the shell takes them from the environment and never reads them
# as commands; -f keeps it from looking for files that fit them.
$(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),\
  $(eval override export $(name) := $$(value $(name)))))
# The 196 of plan-196, for the same reason.
override export STEM = $*

# What the recipes are made of is this file's alone, also with make -e.
override RUN   := set -f; scripts/deno run --frozen --no-prompt --allow-read --allow-write --allow-env --allow-sys --allow-run --allow-net
# The demo finds its own processes in /proc, which Deno opens to nothing less than everything.
override DEMO  := set -f; scripts/deno run --frozen --no-prompt --allow-all
override STEPS := $(basename $(notdir $(wildcard scripts/[0-9]*.ts)))
override IDS   := $(patsubst env/cluster-%.env,%,$(wildcard env/cluster-*.env))

# The clusters of a command: GROUP=, else CLUSTER=, each one word or several of ids, groups, edges and all. One that is
# about all of them unless told otherwise goes by what was typed. An empty one means none, never all.
override TYPED  := $(strip $(foreach name,GROUP CLUSTER,$(if $(filter override,$(origin $(name))),$(name))))
override CHOSEN := $${GROUP-$$CLUSTER}
override FLEET  := $${GROUP-$(if $(filter CLUSTER,$(TYPED)),$$CLUSTER,all)}
override EDGES  := $${GROUP-$${CLUSTERS-$(if $(filter CLUSTER,$(TYPED)),$$CLUSTER,edges)}}

# What is typed and would not count is refused before anything starts: beside a target that is about every cluster,
# and beside one that names its own.
override VERBS  := config preflight plan cluster remove alerts verify drift explain
override WHOLE  := $(filter rotate-s3 pin certificates,$(MAKECMDGOALS))
override NAMED  := $(filter $(addsuffix -%,$(VERBS)),$(MAKECMDGOALS))
$(if $(TYPED),$(if $(WHOLE),$(error $(firstword $(WHOLE)) works on every cluster: $(firstword $(TYPED))= would not count)))
$(if $(TYPED),$(if $(NAMED),$(error $(firstword $(NAMED)) says where it works: $(firstword $(TYPED))= would not count)))

# Tests that change the environment, which those that run side by side share.
override comma := ,
override ALONE := tests/lib/render/bundle_test.ts,tests/lib/render/download_test.ts,tests/lib/s3/s3_test.ts,tests/tools/tool_test.ts

.DEFAULT_GOAL := help

## help              list the targets
.PHONY: help
help:
	@sed -n 's/^### \(.*\)/\n\1/p; s/^## /  make /p' Makefile
	@echo "  clusters: $(IDS)"

### Deploy

## config            every effective setting of the clusters and where it comes from (config-196 for one)
.PHONY: config
config:
	@$(RUN) scripts/operate/config.ts $(FLEET)

config-%: FORCE
	@$(RUN) scripts/operate/config.ts "$$STEM"

## preflight         what a deploy would meet, as a table with the fix for each thing (preflight-196 for one)
.PHONY: preflight
preflight:
	@$(RUN) scripts/operate/preflight.ts $(FLEET) $$ARGS

preflight-%: FORCE
	@$(RUN) scripts/operate/preflight.ts "$$STEM" $$ARGS

## plan              what a deploy would change, on every cluster (plan-196 for one); ARGS=--short, --json
.PHONY: plan
plan:
	@$(RUN) scripts/fleet.ts plan $(FLEET) $$ARGS

plan-%: FORCE
	@$(RUN) scripts/fleet.ts plan "$$STEM" $$ARGS

## cluster-196       all steps on one cluster, or cluster-pilot: on a group, cluster-edges, cluster-197,198
cluster-%: FORCE
	@$(RUN) scripts/fleet.ts deploy "$$STEM" $$ARGS

## all               all steps on every cluster, side by side; GROUP=pilot on a group, here and below
.PHONY: all
all:
	@$(RUN) scripts/fleet.ts deploy $(FLEET) $$ARGS

## 30-thanos         one step (any of scripts/NN-*.ts); CLUSTER=197 or GROUP=pilot
.PHONY: $(STEPS)
$(STEPS):
	@$(RUN) scripts/$@.ts $(CHOSEN) $$ARGS

## remove-197        what the steps made, last one first; shows it only, YES=197 deletes it; data stays
remove-%: FORCE
	@$(RUN) scripts/fleet.ts remove "$$STEM" $$ARGS

## new-cluster       env file of one more edge; NAME=cluster-199-edge NODE_IP=192.168.101.199
.PHONY: new-cluster
new-cluster:
	@$(RUN) scripts/operate/new_cluster.ts

## certificates      CAs of the site and certificates of the clusters, for INGRESS_TLS and THANOS_GRPC_MTLS
.PHONY: certificates
certificates:
	@$(RUN) scripts/operate/certificates.ts

## pin               what the tag of every image names now, into env/pinned.json: pods go by that; ARGS=--renew
.PHONY: pin
pin:
	@$(RUN) scripts/operate/pin.ts $$ARGS

## rotate-s3         the S3 keys of env/secret.env everywhere, proof, then the old ones off; ARGS=--keep-old
.PHONY: rotate-s3
rotate-s3:
	@$(RUN) scripts/operate/rotate_s3.ts $$ARGS

## restore-logs      days of logs on S3: CLUSTER=197; DAY=2026.11.08 brings one back, ARGS=--drop away
.PHONY: restore-logs
restore-logs:
	@$(RUN) scripts/operate/restore_logs.ts $(CHOSEN) $$ARGS

## restore-volume    backups of volumes on S3: CLUSTER=197; CLAIM=monitoring/data restores one, AS=name beside it
.PHONY: restore-volume
restore-volume:
	@$(RUN) scripts/operate/restore_volume.ts $(CHOSEN)

### Look

## status            how every cluster is, as the centre sees it: 0 all well, 11 not; ARGS=--watch, --all, --deep, --json
.PHONY: status
status:
	@$(RUN) scripts/operate/status.ts $(FLEET) $$ARGS

## report            the page for Monday, as HTML and JSON in report/: what to do this week; ARGS=--into=FOLDER
.PHONY: report
report:
	@$(RUN) scripts/operate/report.ts $(FLEET) $$ARGS

## alerts            what fires anywhere, its runbook and where to silence it (alerts-196 for one); ARGS=--json
.PHONY: alerts
alerts:
	@$(RUN) scripts/operate/alerts.ts $(FLEET) $$ARGS

alerts-%: FORCE
	@$(RUN) scripts/operate/alerts.ts "$$STEM" $$ARGS

## verify            check every cluster end to end (verify-196 for one)
.PHONY: verify
verify:
	@$(RUN) scripts/fleet.ts verify $(FLEET) $$ARGS

verify-%: FORCE
	@$(RUN) scripts/fleet.ts verify "$$STEM" $$ARGS

## drift             as plan, ending with 0 (all as wanted), 12 (not) or a failure: for a timer (drift-196 for one)
.PHONY: drift
drift:
	@$(RUN) scripts/fleet.ts drift $(FLEET) $$ARGS

drift-%: FORCE
	@$(RUN) scripts/fleet.ts drift "$$STEM" $$ARGS

## logs              log lines: CLUSTER=197 (or all) QUERY='timeout' NAMESPACE=shop POD=web SINCE=1h; ARGS=--events
.PHONY: logs
logs:
	@$(RUN) scripts/operate/logs.ts $(CHOSEN) $$ARGS

## explain-197       why an object, or a field of it, is as it is; OBJ=Kind/namespace/name FIELD=spec.replicas
explain-%: FORCE
	@$(RUN) scripts/operate/explain.ts "$$STEM"

## compare           live objects of every edge against the first edge's; CLUSTERS="197 198" for others
.PHONY: compare
compare:
	@$(RUN) scripts/operate/compare.ts $(EDGES) $$ARGS

### Try, and work on it

## tools             get the pinned tools (PATH, download, or Go build)
.PHONY: tools
tools:
	@$(RUN) scripts/tools/main.ts

## demo              three local control planes, everything deployed on them
.PHONY: demo
demo:
	@$(DEMO) scripts/demo/demo.ts up

## demo-down         remove the demo: no process, no file stays
.PHONY: demo-down
demo-down:
	@$(DEMO) scripts/demo/demo.ts down

## lab               three real clusters in network namespaces (Linux, root), deployed, verified, to be opened
.PHONY: lab
lab:
	@$(DEMO) tests/lab/up.ts

## lab-down          stop the laboratory, data stays; lab-wipe forgets the data; lab-status
.PHONY: lab-down lab-wipe lab-status
lab-down lab-wipe lab-status: lab-%:
	@tests/lab/lab $*

## lab-cut           pull a node's network cable: CLUSTER=198; lab-heal plugs it; lab-restart is a power cut
.PHONY: lab-cut lab-heal lab-restart
lab-cut lab-heal lab-restart: lab-%:
	@tests/lab/lab $* "$$CLUSTER"

## lab-exec          a command at the operator's seat: CMD='kubectl --context mkube-196 get pods -A', CMD='make verify'
.PHONY: lab-exec
lab-exec:
	@tests/lab/lab exec -- sh -c "$${CMD:?CMD= is missing: make lab-exec CMD='make verify'}"

## lab-pictures      what a browser sees in it, as PNG files in .lab/pictures
.PHONY: lab-pictures
lab-pictures:
	@tests/lab/pictures .lab/pictures

## test              format, lint, types and every test; needs no cluster
.PHONY: test
test: check
	@$(RUN) scripts/tools/main.ts kubectl promtool minio
	@scripts/deno test --frozen --no-prompt --parallel --allow-all --ignore=tests/e2e,tests/apiserver,$(ALONE) tests/
	@scripts/deno test --frozen --no-prompt --allow-all $(subst $(comma), ,$(ALONE))

## check             format, lint and types only; prints the rooms of lib/ and scripts/
.PHONY: check
check:
	@scripts/deno task check
	@$(RUN) tests/house/rooms.ts

## golden            rewrite tests/golden and the table of env/README.md
.PHONY: golden
golden:
	@UPDATE_GOLDEN=1 scripts/deno test --frozen --no-prompt --quiet --allow-all tests/manifests/golden_test.ts tests/lib/config/settings_test.ts

## smoke             the CI job: fresh demo, deploy twice, repair drift, refuse, tear down
.PHONY: smoke
smoke:
	@$(RUN) tests/smoke/smoke.ts

## apiserver         what a real API server refuses, and a deploy over a bad line to it; part of smoke
.PHONY: apiserver
apiserver:
	@$(RUN) scripts/tools/main.ts kubectl kwokctl etcd kube-apiserver
	@scripts/deno test --frozen --no-prompt --allow-all tests/apiserver/

## ci-lab            the long CI job: lab, verify, e2e, lab-down, and how long each took (Linux, root)
.PHONY: ci-lab
ci-lab:
	@.ci/lab

## scan              checkov over everything rendered with defaults (needs PyPI once); ARGS=--all names each object
.PHONY: scan
scan:
	@$(DEMO) tests/scan/main.ts $$ARGS

## bench             how fast a deploy is, beside plain kubectl; ROUNDS=3
.PHONY: bench
bench:
	@$(DEMO) tests/bench/bench.ts

## e2e               deploy the laboratory's clusters and ask their programs; another site: SITE=, see docs/contributing.md
.PHONY: e2e
e2e:
	@$(DEMO) tests/e2e/run.ts suite

## e2e-faults        break clusters that e2e has found well, and watch them heal
.PHONY: e2e-faults
e2e-faults:
	@$(DEMO) tests/e2e/run.ts drills

# Named beside their patterns, so that a shell completes them.
$(foreach verb,$(VERBS),$(IDS:%=$(verb)-%)): FORCE

.PHONY: FORCE
FORCE:
