# Tells of a verbose run of go test what a quiet one would: a line for each package, and before that of one that fails
# what its failed tests, and nobody in particular, have said.

function drop(test,  i) {
	for (i = 1; i <= n; i++)
		if (by[i] == test)
			delete said[i]
}

function flush(show,  i) {
	for (i = 1; i <= n; i++)
		if (show && i in said)
			print said[i]
	n = 0
	split("", said)
	test = ""
}

# a test and its subtests are one
/^=== (RUN|CONT|PAUSE|NAME) / { test = $3; sub(/\/.*/, "", test); next }
/^--- FAIL: / { test = $3 }
/^--- (PASS|SKIP): / { drop($3); test = ""; next }
/^[ \t]+--- (PASS|SKIP): / { next }
/^(PASS|FAIL)$/ { test = ""; next }
/^(ok|FAIL|\?)[ \t]/ { flush($1 == "FAIL"); print; fflush(); next }
{ said[++n] = $0; by[n] = test }
END { flush(1) }
