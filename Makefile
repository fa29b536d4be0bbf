.PHONY: check test fuzz

check:
	bash .ci/run

test:
	go test ./...

fuzz:
	bash .ci/fuzz 5m
