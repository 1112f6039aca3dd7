FROM scratch
ARG fil=1
COPY <<-E <<F /x/
	plain
		see ${V:?no}
E
$file
F
