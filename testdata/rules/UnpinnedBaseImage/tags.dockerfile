FROM alpine
FROM alpine:latest AS a
FROM alpine:3.20
FROM localhost:5000/x AS b
