.PHONY: check test race fuzz

check:
	bash .ci/run

test:
	go test ./...

# Packages that wait run beside those that work.
race:
	go test -race -short -p 4 ./...

fuzz:
	bash .ci/fuzz 5m
