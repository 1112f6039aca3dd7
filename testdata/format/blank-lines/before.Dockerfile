

   # at the top


# twice
FROM a



RUN b
  
	
# above

# and right above   
RUN c


