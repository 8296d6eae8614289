# Two commands set everything up from a bare clone: `make demo` and `make test`.
# Build products are kept in .build; dependencies are most of a first build (about ten minutes on two cores).
SHELL := /bin/bash
SWIFT := swift
T ?=

.PHONY: all demo test test-ray bench check fix generate dev setup clean

all: ## Builds the binary .build/debug/vagus
	@echo "++ building (the first build compiles all dependencies: 5 to 10 minutes on two cores)"
	$(SWIFT) build -c debug --product vagus

setup: ## Installs what building and testing need
	scripts/setup

demo: setup all ## Runs the main job on real data and prints where to look
	scripts/demo --keep

test: setup check ## Runs all that CI runs; T=Delivery runs one room's tests
ifeq ($(T),)
	scripts/test
else
	VAGUS_ROOM=$(T) $(SWIFT) test
endif

test-ray: ## Holds the executors' contract against a real Ray; installs 382 MB, so CI leaves it out
	$(SWIFT) build -c debug --build-tests
	mkdir -p .ray && scripts/setup-ray .ray > .ray/variables
	@set -a; . .ray/variables; nsenter --net=$$VAGUS_TEST_RAY_NETWORK $(SWIFT) test --skip-build --filter RayExecutorTests; \
	status=$$?; scripts/setup-ray .ray stop; exit $$status

bench: ## Measures a release build beside other programs; see Benchmarks/README.md
	Benchmarks/setup
	Benchmarks/run

check: ## Formatting and lint, before each commit
	@echo "++ swift format lint"
	@scripts/check

fix: ## Formats
	$(SWIFT) format --in-place --configuration .swift-format --parallel --recursive Sources Tests Package.swift

generate: all ## Writes docs/openapi.json, docs/schemas and docs/reference
	.build/debug/vagus generate docs

dev: all ## Server, runner and proxy in one
	.build/debug/vagus dev --data ./demo-data

clean:
	rm -rf .build .build-release
