FROM scratch
COPY	
