FROM scratch
foo bar
