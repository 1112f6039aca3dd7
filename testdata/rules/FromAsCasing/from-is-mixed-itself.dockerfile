From scratch as a
FROM scratch AS b
