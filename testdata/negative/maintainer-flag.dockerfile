FROM scratch
MAINTAINER --boo joe@example.com
