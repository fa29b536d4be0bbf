.PHONY: check test race fuzz

check:
	bash .ci/run

test:
	go test ./...

# Packages that wait run beside those that work. At its end a program would wait
# a second for races of goroutines that are left: most tests see that none is.
race:
	GORACE=atexit_sleep_ms=0 go test -race -short -p 4 ./...

fuzz:
	bash .ci/fuzz 5m
