FROM debian:12
RUN curl -o /tmp/x https://example.org/x && install /tmp/x /usr/bin && rm /tmp/x
RUN rm -f /tmp/y && make
