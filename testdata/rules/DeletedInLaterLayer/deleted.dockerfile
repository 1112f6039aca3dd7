FROM debian:12
COPY app.tar big.bin /tmp/
RUN tar -xf /tmp/app.tar -C /srv
RUN rm /tmp/app.tar
RUN cd /tmp && rm -f /tmp/big.bin
RUN curl -o /opt/x.zip https://example.org/x.zip
RUN rm -rf /opt/x.zip
