FROM --platform=linux/amd64 scratch
FROM --platform=linux/arm64 scratch AS tools
FROM --platform=linux scratch AS x
